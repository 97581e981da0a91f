--[[
remind-bucket: that a bucket ends soon is told, once for each time ahead that its grant names, while something of it is left.

KEYS[1] account, KEYS[2] due, KEYS[3] journal
ARGV[1] at, ARGV[2] offset   as in expire-session.lua
ARGV[3] account_id, ARGV[4] bucket_id, ARGV[5] member (of `due`)

Safe with any number of sweepers. Replies one text: skew, gone (or nothing more to tell), early, told.
]]
-- @include words
-- @include account-lines

local account_key, due_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local at, offset, account_id, bucket_id, member = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
assert(at and offset and bucket_id and member, 'arguments')
-- Read.
local clock = redis.call('TIME')
local skew = at - offset - (clock[1] * 1000 + floor(clock[2] / 1000))
if skew > 30000 or skew < -30000 then return 'skew' end
local values = redis.call('HMGET', account_key, 'funds', 'bucket:' .. bucket_id)
-- Decide.
local bucket = values[1] and values[2] and read_bucket(bucket_id, values[2])
if not bucket or ended(bucket, at) or bucket.ends == 0 or not match(bucket.rest, ' remind=') then
  redis.call('ZREM', due_key, member)
  return 'gone'
end
local funds, later, due = read_funds(values[1]), {}, false
for lead in gmatch(match(bucket.rest, ' remind=(%S+)'), '%d+') do
  if bucket.ends - lead <= at then due = true else later[#later + 1] = lead end
end
if not due then
  redis.call('ZADD', due_key, digits(next_told(bucket, at)), member)
  return 'early'
end
local ends = #later > 0 and digits(bucket.ends - later[1])
bucket.rest = without(bucket.rest, 'remind')
if #later > 0 then
  bucket.rest = format('%s%s remind=%s', bucket.rest, find(bucket.rest, ' with ', 1, true) and '' or ' with', concat(later, '.'))
end
local tells = bucket.left > 0
if tells then funds.seq = funds.seq + 1 end
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if tells then
  redis.call('XADD', journal_key, '*', 'e', format(
    '{"account":"%s","seq":%d,"at":%d,"kind":"remind","bucket":"%s","name":"%s","until":%d,"left":%d,"posts":[],"lines":[],"held":%d,"events":[["expires-soon","bucket:%s",%d]]}',
    account_id, funds.seq, at, bucket_id, bucket.name, bucket.ends, bucket.left, funds.held, bucket_id, bucket.ends - at))
end
redis.call('HSET', account_key, 'funds', write_funds(funds), 'bucket:' .. bucket_id, write_bucket(bucket))
if ends then redis.call('ZADD', due_key, ends, member) else redis.call('ZREM', due_key, member) end
return tells and 'told' or 'gone'
