--[[
due-turn: one daemon at a time works on a member of `due` that no script of its own moves. It takes it by giving it another time, at which another may
take it; when it is done it takes it out, or sets when to look again, unless a new cause has set another time since.

The members are `<word> <account>`: what the gateways of an account's open sessions are to be asked (RFC 8506 section 5.5):
  reauth      lines that were refused for want of funds, or got their last units: there may be more for them now
  reauth-all  all lines, as something else holds for all of them
  abort       the sessions are to end

KEYS[1] due
ARGV[1] member
ARGV[2] step               take | put
ARGV[3] now                ms, business time: what is due later is not taken
ARGV[4] token              the time (ms, a fraction tells daemons apart) that `take` sets and `put` must find
ARGV[5] next               put: the time to set, '' takes the member out

Safe to repeat. Replies one text: take: taken, early (not due, or another's), gone; put: done, again (a new cause came).
]]
-- @include words

local due_key, member, step, now, token, next_time = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
-- Read.
local at = tonumber(redis.call('ZSCORE', due_key, member))
-- Decide.
if step == 'take' then
  if not at then return 'gone' end
  if at ~= token and at > now then return 'early' end
else
  if at == nil and next_time == '' then return 'done' end
  if at ~= token then return at == tonumber(next_time) and 'done' or 'again' end
end
assert(token and next_time, 'arguments')
-- Write.
if step == 'take' then redis.call('ZADD', due_key, ARGV[4], member)
elseif next_time == '' then redis.call('ZREM', due_key, member)
else redis.call('ZADD', due_key, next_time, member) end
return step == 'take' and 'taken' or 'done'
