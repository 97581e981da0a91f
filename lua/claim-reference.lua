--[[
claim-reference: a (channel, reference) is one recharge over all accounts: claimed before the credit, settled when it is made, free again when it
was refused.

KEYS[1] reference
ARGV[1] step               claim | settle | free
ARGV[2] content            `<account> <micros> <currency>`: what the reference stands for
ARGV[3] keep               ms that it is kept; free: that it is kept still, for another who is at the same recharge

Safe to repeat. Replies one text: claimed (now, or before and nobody knows what came of it), settled, taken <content>; free: freed.
]]
-- @include words

local reference_key, step, content, keep = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
-- Read.
local value = redis.call('GET', reference_key)
-- Decide.
local known, state = match(value or '', '^(%S+ %S+ %S+) ?(%a*)$')
if step ~= 'claim' and step ~= 'settle' then
  assert(step == 'free', 'step')
  if known ~= content or state == 'settled' then return 'freed' end
elseif known and known ~= content then return 'taken ' .. known
elseif state == 'settled' then return 'settled'
elseif known and step == 'claim' then return 'claimed' end
assert(tonumber(keep), 'keep')
-- Write.
if step == 'free' then redis.call('PEXPIRE', reference_key, keep)
else redis.call('SET', reference_key, content .. (step == 'settle' and ' settled' or ' claimed'), 'PX', keep) end
return step == 'free' and 'freed' or step == 'settle' and 'settled' or 'claimed'
