--[[
keep-answer: the first answer to a request of the admin API that moves money, under the key that its client chose (Idempotency-Key).

KEYS[1] kept               string `<fingerprint> <claimant> <answer>`; the answer is empty while the work goes on
ARGV[1] step               claim | answer | release
ARGV[2] fingerprint        of the request: method, path, query, body
ARGV[3] claimant           unique for this try of it
ARGV[4] answer             step answer: what to keep, one text that is not empty
ARGV[5] keep_ms            how long the key is remembered

claim comes before the work, answer after it, release where the request was refused and the key may serve another. A claim without an
answer is of work that goes on elsewhere or was cut off: the same request does it again, as the work itself happens once.

Safe to repeat. Replies one text: claim: claimed, joined (claimed by another try of the same request), reused (another request has the
key), answered <answer>; answer: kept, answered <first answer>, reused; release: done.
]]
-- @include words

local key, step, fingerprint, claimant, answer = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local keep_ms = ARGV[5] + 0
-- Read.
local kept = redis.call('GET', key)
local owner, by, first = nil, nil, ''
if kept then owner, by, first = match(kept, '^(%S+) (%S+) (.*)$') end
-- Decide.
assert(step == 'claim' or step == 'answer' and answer ~= '' or step == 'release', 'step')
if step == 'release' then
  if not (owner == fingerprint and by == claimant and first == '') then return 'done' end
elseif owner and owner ~= fingerprint then return 'reused'
elseif first ~= '' then return 'answered ' .. first
elseif step == 'claim' and owner then return by == claimant and 'claimed' or 'joined' end
-- Write.
if step == 'release' then redis.call('DEL', key)
else redis.call('SET', key, fingerprint .. ' ' .. claimant .. ' ' .. (step == 'answer' and answer or ''), 'PX', digits(keep_ms)) end
return step == 'answer' and 'kept' or step == 'claim' and 'claimed' or 'done'
