--[[
publish-catalog: a catalog becomes the one that all daemons of the store use.

KEYS[1] publications       hash: order (ids, newest first), record:<id>, texts:<id>
ARGV[1] expected           id that the writer knows as the newest; '' there was none
ARGV[2] id
ARGV[3] record             JSON: who, when, why
ARGV[4] texts              the catalog itself, packed
ARGV[5] keep               so many of them are kept

Safe to repeat. Replies one text: done, moved.
]]
-- @include words

local key, expected, id, record, texts, keep = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
-- Read.
local order = redis.call('HGET', key, 'order') or ''
-- Decide.
local newest = match(order, '^%S+') or ''
if newest == id then return 'done' end
if newest ~= expected then return 'moved' end
local kept, gone = { id }, {}
for each in gmatch(order, '%S+') do
  if #kept < keep then kept[#kept + 1] = each else gone[#gone + 1] = each end
end
-- Write.
redis.call('HSET', key, 'order', concat(kept, ' '), 'record:' .. id, record, 'texts:' .. id, texts)
for _, each in ipairs(gone) do redis.call('HDEL', key, 'record:' .. each, 'texts:' .. each) end
return 'done'
