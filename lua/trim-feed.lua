--[[
trim-feed: events that are too old, or too many, leave the feed; which went is remembered, so that a reader who has not seen them is told.

KEYS[1] feed               stream
KEYS[2] positions          hash: `trimmed`, the id of the newest event that went
ARGV[1] oldest             id: what is below it goes
ARGV[2] most               events that may stay
ARGV[3] at_once            events that go for being too many, in one call

Replies one text: how many went.
]]
local feed_key, positions_key = KEYS[1], KEYS[2]
local oldest, most, at_once = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- Read.
local length = redis.call('XLEN', feed_key)
local surplus = math.min(length - most, at_once)
local many = surplus > 0 and redis.call('XRANGE', feed_key, '-', '+', 'COUNT', surplus) or {}
local old = redis.call('XREVRANGE', feed_key, '(' .. oldest, '-', 'COUNT', 1)
-- Decide.
local function parts(id)
  local ms, order = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(order)
end
local last = #many > 0 and many[#many][1] or nil
if old[1] then
  local ms, order = parts(old[1][1])
  local last_ms, last_order = -1, -1
  if last then last_ms, last_order = parts(last) end
  if ms > last_ms or ms == last_ms and order > last_order then last = old[1][1] end
end
if not last then return '0' end
local ms, order = parts(last)
redis.call('HLEN', positions_key) -- a key of another type shows before anything is written
-- Write.
local removed = redis.call('XTRIM', feed_key, 'MINID', string.format('%d-%d', ms, order + 1))
redis.call('HSET', positions_key, 'trimmed', last)
return string.format('%d', removed)
