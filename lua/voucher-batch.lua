--[[
voucher-batch: make a batch of vouchers, or change it, if nobody changed it since it was read.

KEYS[1] batch              hash: state, blocked, record; lua/voucher-claim.lua keeps `counts` in it
ARGV[1] rev                of what was read; 0: there was none
ARGV[2] state              created | active | blocked
ARGV[3] ends               ms, business time from which its vouchers are expired; 0: never
ARGV[4] blocked            serials: 1-100,345-345; none: ''
ARGV[5] record             all else, JSON

Safe to repeat: what was done is `moved`. Replies one text: changed <rev>, moved.
]]
-- @include words

local batch_key, rev, state, ends, blocked, record = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Read.
local line = redis.call('HGET', batch_key, 'state')
-- Decide.
local is = line and match(line, ' rev (%d+)$') + 0 or 0
if is ~= rev then return 'moved' end
assert(blocked and record, 'arguments')
local new_state = format('%s until %d rev %d', state, ends, rev + 1)
-- Write.
redis.call('HSET', batch_key, 'state', new_state, 'blocked', blocked, 'record', record)
return 'changed ' .. digits(rev + 1)
