--[[
step-subscription: a subscription goes on to what was worked out from its line: its renewal, a change, a cancellation, its end, a reminder. In one
step and one entry what has ended of its buckets expires or rolls over, its fee is taken and its buckets are granted; semantics.md section 8.
Where the free money does not reach, nothing of that happens, but what the caller says for it.

KEYS[1] account, KEYS[2] due, KEYS[3] journal, KEYS[4] census, KEYS[5] once
ARGV[1] account_id
ARGV[2] id                 of the subscription
ARGV[3] line               as the caller read it ('' it has none): another one, and nothing is done
ARGV[4] rev                of the profile that was read, too
ARGV[5] at                 ms, business time
ARGV[6] offset             ms between business clock and the store's, of a sweep, as in expire-session.lua; '' asked for by somebody
ARGV[7] keep               ms that the once key is remembered; '' there is none: the line tells that a step was done
ARGV[8] answer             what the once key keeps
ARGV[9] wait               ms: an account that is suspended is looked at again then; '' it makes no difference
ARGV[10] fee               micros, from free money only
ARGV[11] refund            micros: what is given back of what was paid, which repays debt first
ARGV[12] offer             that it is of then
ARGV[13] done              what becomes of it, in six lines:
                           cause       JSON members for the ledger entry
                           line        of the subscription; '' it has none any more
                           standing    '' as it was; `in` or `paused`: whether the rules of the offer hold; `out`: it has ended
                           renewed     ms: of its member in `due`; '' there is none
                           told        the same, of the member that tells its end ahead
                           buckets     `ended`: what of its buckets has ended goes; `all`: all of them end now; `keep`: nothing of this
ARGV[14] failed            the same where the free money does not reach the fee; '': then nothing is done
ARGV[15] catalog           version that the grants are of
ARGV[16] grants            count of buckets, and they, as include/granting.lua says

Safe to repeat. Replies one text: skew, no_account, terminated (the account is; nothing is due any more), moved, waits, insufficient <needs> <free>;
done | failed | repeated <answer>; `due` is behind done and failed when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include draw-order
-- @include census
-- @include granting
-- @include ending

local account_key, due_key, journal_key, census_key, once_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local account_id, id, line, rev, at, offset = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local keep, answer, wait, fee, refund, offer = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
local catalog, grants = ARGV[15], tonumber(ARGV[16])
local renew_member, remind_member = format('renew %s %s', account_id, id), format('remind %s subscription:%s', account_id, id)
-- Read.
if offset ~= '' then
  local clock = redis.call('TIME')
  local skew = at - tonumber(offset) - (clock[1] * 1000 + floor(clock[2] / 1000))
  if skew > 30000 or skew < -30000 then return 'skew' end
end
local first_answer = redis.call('GET', once_key)
if first_answer then return 'repeated ' .. first_answer end
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'subscriptions', 'order', 'unpaid', 'subscribed', 'subscription:' .. id)
local funds, subscriptions = values[1] and read_funds(values[1]), values[3] or ''
assert(at and fee >= 0 and refund >= 0 and grants and catalog and answer and match(offer, '^%S+$') and match(id, '^%d+$'), 'arguments')
assert((keep == '' or tonumber(keep)) and (wait == '' or tonumber(wait)), 'arguments')
local all, own = {}, nil
for bucket in gmatch(values[4] or '', '(%S+):%S+') do all[#all + 1] = read_bucket(bucket, redis.call('HGET', account_key, 'bucket:' .. bucket)) end
for each in gmatch(subscriptions, '[^;]+') do if match(each, '^%d+') == id then own = each end end
-- Decide.
if not funds or funds.status == 'terminated' or funds.status == 'recycled' then
  redis.call('ZREM', due_key, renew_member, remind_member)
  return funds and 'terminated' or 'no_account'
end
if (values[7] or '') ~= line or funds.rev ~= rev or not own then return 'moved' end
if funds.status == 'suspended' and wait ~= '' then
  redis.call('ZADD', due_key, wait, renew_member)
  return 'waits'
end
local free = free_money(funds)
local reaches = fee <= free
if not reaches and ARGV[14] == '' then return format('insufficient %d %d', fee, free) end
local cause, next_line, standing, renewed, told, ends =
  match(reaches and ARGV[13] or ARGV[14], '^([^\n]+)\n([^\n]*)\n(%a*)\n(%d*)\n(%d*)\n(%a+)$')
assert(ends == 'ended' or ends == 'all' or ends == 'keep', 'buckets')
assert(standing == '' or standing == 'in' or standing == 'paused' or standing == 'out', 'standing')
assert(next_line == '' or match(next_line, '^%a+ from %d+ until %d+ '), 'line of a subscription')
if not reaches then cause = format('%s,"needs":%d,"free":%d', cause, fee, free) end
local book = new_book(funds, values[2], at)
funds.seq = funds.seq + 1
local taken = new_taken(subscriptions, values[6])
local census, dues, gone, removed = taken.census, taken.dues, {}, {}
-- What of its buckets has ended, or ends now.
local left = {}
for _, bucket in ipairs(all) do
  local of_it = match(bucket.rest, ' sub (%d+) at ') == id
  local over = ends ~= 'keep' and of_it and ended(bucket, at)
  if ends == 'all' and of_it and not over then
    bucket.ends, over = at, true
    bucket.rest = without(bucket.rest, 'roll')
    book.changed[bucket.id] = bucket
  end
  if over and reaches then
    local rolled = end_bucket(book, bucket, format('%d-%d', funds.seq, #taken.made + 1), census)
    if rolled then taken.made[#taken.made + 1] = rolled end
  end
  if over and reaches and bucket.left == 0 then
    removed[#removed + 1], gone[#gone + 1] = 'bucket:' .. bucket.id, 'bucket ' .. account_id .. ' ' .. bucket.id
    book.changed[bucket.id] = nil
  else
    left[#left + 1] = bucket
    -- What is held of it may come back; where the renewal failed, it ends by itself.
    if over then dues[#dues + 1], dues[#dues + 2] = digits(reaches and at + LOOK_AGAIN or at), 'bucket ' .. account_id .. ' ' .. bucket.id end
  end
end
if reaches then
  post_money(book, -fee, 'fee')
  local repaid = min(refund, funds.debt)
  if repaid > 0 then post_debt(book, -repaid, 'fee') end
  post_money(book, refund - repaid, 'fee')
  take_buckets(book, taken, ARGV, 16, offer, { sub = id, catalog = catalog })
end
for _, bucket in ipairs(taken.made) do left[#left + 1] = bucket end
-- Its word among the subscriptions.
local _, was, since, whose, paused = match(own, '^(%d+) (%S+) (%d+) (%d+) ?(%a*)$')
local is = reaches and offer or was
if standing == 'in' then paused = '' elseif standing == 'paused' then paused = 'paused' end
local word = standing ~= 'out' and format('%s %s %s %s%s', id, is, since, whose, paused == '' and '' or ' paused') or nil
local words, ever = {}, tonumber(values[6] or '0')
for each in gmatch(subscriptions, '[^;]+') do
  local next_word = each
  if each == own then next_word = word end
  if next_word then words[#words + 1] = next_word end
end
if word ~= own then funds.rev = digits(tonumber(funds.rev) + 1) end
if standing == 'out' then ever = max(ever, tonumber(id)) end
if standing == 'out' or is ~= was then count(census, 'offer:' .. was, -1) end
if standing ~= 'out' and is ~= was then count(census, 'offer:' .. is, 1) end
local unpaid = {}
for other, needs in gmatch(values[5] or '', '(%d+)=(%d+)') do if other ~= id then unpaid[#unpaid + 1] = other .. '=' .. needs end end
if not reaches and next_line ~= '' then unpaid[#unpaid + 1] = format('%s=%d', id, fee) end
local wrong = defect(book)
assert(not wrong, wrong)
local out = { 'funds', write_funds(funds), 'subscriptions', concat(words, ';'), 'order', draw_order(left) }
if #unpaid > 0 then out[#out + 1], out[#out + 2] = 'unpaid', concat(unpaid, ' ')
elseif values[5] then removed[#removed + 1] = 'unpaid' end
if ever > 0 then out[#out + 1], out[#out + 2] = 'subscribed', digits(ever) end
if next_line ~= '' then out[#out + 1], out[#out + 2] = 'subscription:' .. id, next_line
elseif line ~= '' then removed[#removed + 1] = 'subscription:' .. id end
for _, bucket in pairs(book.changed) do out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket) end
bucket_dues(dues, taken.made, account_id, at)
if renewed ~= '' then dues[#dues + 1], dues[#dues + 2] = renewed, renew_member else gone[#gone + 1] = renew_member end
if told ~= '' then dues[#dues + 1], dues[#dues + 2] = told, remind_member else gone[#gone + 1] = remind_member end
local asked = funds.open > 0 and (word ~= own or #taken.made > 0)
local counts = #census.fields > 0 and counted(census, redis.call('HMGET', census_key, unpack(census.fields))) or {}
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
redis.call('HLEN', census_key)
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[%s],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, concat(book.posts, ','), funds.held))
redis.call('HSET', account_key, unpack(out))
if #removed > 0 then redis.call('HDEL', account_key, unpack(removed)) end
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if #gone > 0 then redis.call('ZREM', due_key, unpack(gone)) end
if #dues > 0 then redis.call('ZADD', due_key, unpack(dues)) end
if keep ~= '' then redis.call('SET', once_key, answer, 'PX', keep) end
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return (reaches and 'done' or 'failed') .. (asked and ' due' or '')
