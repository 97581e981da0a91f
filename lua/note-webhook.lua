--[[
note-webhook: what became of a webhook's deliveries, by who has its lease; the lease lives on.

KEYS[1] lease              who delivers
KEYS[2] webhook            hash: cursor: all events up to it were delivered, are parked or are dead
KEYS[3] parked             hash: account → state; `<account> <number>` → event
KEYS[4] replay             list: events to be delivered again
KEYS[5] dead               stream
ARGV[1] owner, ARGV[2] lease_ms
ARGV[3] cursor             or '': as it is
ARGV[4] replayed           events that were taken from the front of `replay`
ARGV[5] sets, ARGV[6] gone, ARGV[7] buried   how many follow of each: pairs for `parked`, fields that leave it, letters for `dead` (JSON)

Replies one text: noted; lost, where somebody else has the lease: nothing is written.
]]
local lease_key, webhook_key, parked_key, replay_key, dead_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local owner, lease_ms, cursor, replayed = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local sets, gone, buried = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
-- Read.
local holder = redis.call('GET', lease_key)
-- Decide.
if holder and holder ~= owner then return 'lost' end
assert(lease_ms and replayed and #ARGV == 7 + 2 * sets + gone + buried, 'arguments')
redis.call('HLEN', webhook_key) -- a key of another type shows before anything is written
redis.call('HLEN', parked_key)
redis.call('LLEN', replay_key)
redis.call('XLEN', dead_key)
-- Write.
redis.call('SET', lease_key, owner, 'PX', lease_ms)
if cursor ~= '' then redis.call('HSET', webhook_key, 'cursor', cursor) end
local i = 8
for _ = 1, sets do
  redis.call('HSET', parked_key, ARGV[i], ARGV[i + 1])
  i = i + 2
end
for _ = 1, gone do
  redis.call('HDEL', parked_key, ARGV[i])
  i = i + 1
end
for _ = 1, buried do
  redis.call('XADD', dead_key, '*', 'e', ARGV[i])
  i = i + 1
end
if replayed > 0 then redis.call('LTRIM', replay_key, replayed, -1) end
return 'noted'
