--[[
note-watches: what entries up to a position leave for later ones (once until refilled), and the position of whoever read them, in one.

KEYS[1] watches            hash: account → text
KEYS[2] consumers          hash, see balance/journal.ts
ARGV[1] consumer           its name
ARGV[2] position           id of the last entry that was read
then pairs: account, text ('' forgets it)

Replies one text: noted; behind, where somebody else is further: nothing is written.
]]
local watches_key, consumers_key = KEYS[1], KEYS[2]
local consumer, position = ARGV[1], ARGV[2]
-- Read.
local function parts(id)
  local ms, order = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(order)
end
local stored = redis.call('HGET', consumers_key, consumer) or '0-0'
-- Decide.
local ms, order = parts(position)
local stored_ms, stored_order = parts(stored)
if stored_ms > ms or stored_ms == ms and stored_order > order then return 'behind' end
local kept, gone = {}, {}
for i = 3, #ARGV, 2 do
  assert(ARGV[i + 1], 'a text for each account')
  if ARGV[i + 1] == '' then gone[#gone + 1] = ARGV[i] else kept[#kept + 1], kept[#kept + 2] = ARGV[i], ARGV[i + 1] end
end
redis.call('HLEN', watches_key) -- a key of another type shows before anything is written
-- Write.
if #kept > 0 then redis.call('HSET', watches_key, unpack(kept)) end
if #gone > 0 then redis.call('HDEL', watches_key, unpack(gone)) end
redis.call('HSET', consumers_key, consumer, position)
return 'noted'
