--[[
voucher-claim: the state of one voucher; who claims it first has it. The steps of a redemption (semantics.md section 10): the due list of the
account names it, claim, credit, use. One that was refused its credit is given free.

KEYS[1] batch              hash: state, blocked as lua/voucher-batch.lua writes them; counts `claimed 1 used 5`
KEYS[2] serials            hash of about 100 serials; what was never claimed is not in it:
                           claimed | used <account> <subscriber> <redemption> <at> <channel> <outlet> <actor>
KEYS[3] barred             text: that this redemption is over without having claimed
KEYS[4] report             hash: `<day> <outlet>` → vouchers used
ARGV[1] step               look | claim | use | free; settle: the sweeper asks where it stands, and when it has not claimed it never may
ARGV[2] serial
ARGV[3] redemption
ARGV[4] now                ms, business time
ARGV[5] claim              <account> <subscriber> <redemption> <at> <channel> <outlet> <actor>
ARGV[6] day                use: <day> <outlet>
ARGV[7] keep               ms that `barred` is kept: longer than any call is on its way

Safe to repeat. Replies one text: look, claim: no_batch, created, blocked, expired, free (look), yours (claim), late (barred), and what stands in
`serials` when somebody has it; settle: that, or gone; use: done, gone; free: freed, gone.
]]
-- @include words

local batch_key, serials_key, barred_key, report_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, serial, redemption, now, claim, day, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local field = digits(serial % 100)
-- Read.
local values = redis.call('HMGET', batch_key, 'state', 'blocked', 'counts')
local is = redis.call('HGET', serials_key, field)
local barred = redis.call('GET', barred_key)
local used_before = redis.call('HGET', report_key, day)
-- Decide.
local ours = is and match(is, '^%a+ %S+ %S+ (%S+) ') == redemption
local claimed = is and sub(is, 1, 8) == 'claimed '
if step == 'look' or step == 'claim' then
  if ours then return step == 'claim' and claimed and 'yours' or is end
  if is then return is end
  if not values[1] then return 'no_batch' end
  local state, ends = match(values[1], '^(%a+) until (%d+)')
  if state ~= 'active' then return state end
  if ends + 0 > 0 and ends + 0 <= now then return 'expired' end
  for from, to in gmatch(values[2], '(%d+)%-(%d+)') do
    if from + 0 <= serial and serial <= to + 0 then return 'blocked' end
  end
  if step == 'look' then return 'free' end
  if barred then return 'late' end
elseif step == 'settle' then
  if ours then return is end
elseif not ours then return 'gone'
elseif not claimed then return step == 'use' and 'done' or 'gone' end
local claims, uses = match(values[3] or 'claimed 0 used 0', '^claimed (%d+) used (%d+)$')
claims, uses = claims + (step == 'claim' and 1 or step == 'settle' and 0 or -1), uses + (step == 'use' and 1 or 0)
local counts = format('claimed %d used %d', claims, uses)
local used = digits((used_before or 0) + 1)
local answer = ({ claim = 'yours', settle = 'gone', use = 'done', free = 'freed' })[step]
assert(answer and claim and keep + 0 > 0, 'arguments')
-- Write.
if step == 'settle' then redis.call('SET', barred_key, '1', 'PX', keep) else redis.call('HSET', batch_key, 'counts', counts) end
if step == 'claim' then redis.call('HSET', serials_key, field, 'claimed ' .. claim) end
if step == 'use' then
  redis.call('HSET', serials_key, field, 'used ' .. sub(is, 9))
  redis.call('HSET', report_key, day, used)
end
if step == 'free' then redis.call('HDEL', serials_key, field) end
return answer
