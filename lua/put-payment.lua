--[[
put-payment: what is known of a payment, and when to look at it next, if what stands there is still what the writer has read.

KEYS[1] payment            one JSON text, see src/balance/payments.ts
KEYS[2] due
ARGV[1] expected           the text that was read; '' for a new one
ARGV[2] text
ARGV[3] member             of due
ARGV[4] next               ms, business time; '' nothing is to be done any more
ARGV[5] keep               ms that it is kept when nothing is to be done any more

Safe to repeat: what is to be written and stands there already was written. Replies one text: done, moved.
]]
local key, due_key, expected, text, member, next_time, keep = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
-- Read.
local found = redis.call('GET', key) or ''
-- Decide.
if found ~= text and found ~= expected then return 'moved' end
assert(tonumber(keep) and (next_time == '' or tonumber(next_time)), 'arguments')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if next_time == '' then
  redis.call('SET', key, text, 'PX', keep)
  redis.call('ZREM', due_key, member)
else
  redis.call('SET', key, text)
  redis.call('ZADD', due_key, next_time, member)
end
return 'done'
