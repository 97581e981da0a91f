--[[
move-clock: the virtual clock of a store goes forward, once for its token.

KEYS[1] virtual_time       text: `<ms ahead of real time> <token of the last move>`
ARGV[1] before             ms ahead that whoever moves it has seen
ARGV[2] ahead              ms ahead from now on
ARGV[3] token              of this move: sent again, it moves nothing

Replies one text: done <ms ahead>, moved <ms ahead> (another move came first), backwards <ms ahead>.
]]
-- @include words

local virtual_time_key, before, ahead, token = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
-- Read.
local stored = redis.call('GET', virtual_time_key)
local now_ahead, last = 0, ''
if stored then
  now_ahead, last = match(stored, '^(%d+) (%S+)$')
  now_ahead = now_ahead + 0
end
-- Decide.
if last == token then return 'done ' .. digits(now_ahead) end
if now_ahead ~= before then return 'moved ' .. digits(now_ahead) end
if ahead < now_ahead then return 'backwards ' .. digits(now_ahead) end
assert(find(token, '^%S+$'), 'token')
-- Write.
redis.call('SET', virtual_time_key, format('%d %s', ahead, token))
return 'done ' .. digits(ahead)
