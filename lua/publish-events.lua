--[[
publish-events: events of some partitions into the feed, once: each only where the feed stands where the events begin.

KEYS[1] feed               stream
KEYS[2] positions          hash: partition → id of the last journal entry whose events are in the feed
then for each partition in ARGV, in a row: partition, from and to (journal ids: the events are of entries after `from`, up to `to`), count of events, and the
events, JSON

Replies one text, a word each partition: `done`, or where the feed stands in its entries instead (a repeat finds `to` there).
]]
local feed_key, positions_key = KEYS[1], KEYS[2]
-- Read.
local partitions = {}
local i = 1
while i <= #ARGV do
  partitions[#partitions + 1] = { name = ARGV[i], from = ARGV[i + 1], to = ARGV[i + 2], count = assert(tonumber(ARGV[i + 3]), 'count'), first = i + 4 }
  i = i + 4 + partitions[#partitions].count
end
assert(i == #ARGV + 1, 'arguments')
local words, names = {}, {}
for n, partition in ipairs(partitions) do names[n] = partition.name end
local stands = #names > 0 and redis.call('HMGET', positions_key, unpack(names)) or {}
-- Decide.
local reached = {}
for n, partition in ipairs(partitions) do
  local at = stands[n] or '0-0'
  partition.go = at == partition.from
  words[n] = partition.go and 'done' or at
  if partition.go then reached[#reached + 1], reached[#reached + 2] = partition.name, partition.to end
end
redis.call('XLEN', feed_key) -- a key of another type shows before anything is written
-- Write.
for _, partition in ipairs(partitions) do
  if partition.go then
    for n = partition.first, partition.first + partition.count - 1 do redis.call('XADD', feed_key, '*', 'e', ARGV[n]) end
  end
end
if #reached > 0 then redis.call('HSET', positions_key, unpack(reached)) end
return table.concat(words, ' ')
