--[[
expire-bucket: the free part of a bucket expires at its end; what sessions hold of it stays theirs, semantics.md section 8.

KEYS[1] account, KEYS[2] due, KEYS[3] journal
ARGV[1] now, ARGV[2] offset   as in expire-session.lua
ARGV[3] account_id, ARGV[4] bucket_id, ARGV[5] member (of `due`)

Replies one text: skew, gone, early, expired.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking

local account_key, due_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local now, offset, account_id, bucket_id, member = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
assert(member, 'arguments')
-- Read.
local clock = redis.call('TIME')
local skew = now - offset - (clock[1] * 1000 + floor(clock[2] / 1000))
if skew > 30000 or skew < -30000 then return 'skew' end
local values = redis.call('HMGET', account_key, 'funds', 'bucket:' .. bucket_id, 'currency')
if not values[1] or not values[2] then
  redis.call('ZREM', due_key, member)
  return 'gone'
end
local bucket = read_bucket(bucket_id, values[2])
if not ended(bucket, now) then
  if bucket.ends > 0 then redis.call('ZADD', due_key, bucket.ends, member) else redis.call('ZREM', due_key, member) end
  return 'early'
end
-- Decide.
local book = { funds = read_funds(values[1]), currency = values[3], at = now, by_id = {}, order = {}, posts = {}, changed = {} }
post_bucket(book, bucket, bucket.held - bucket.left, 'expiry')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if #book.posts > 0 then
  book.funds.seq = book.funds.seq + 1
  redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,"kind":"expiry","bucket":"%s","posts":[%s],"lines":[],"held":%d}',
    account_id, book.funds.seq, now, bucket_id, concat(book.posts, ','), book.funds.held))
  redis.call('HSET', account_key, 'funds', write_funds(book.funds), 'bucket:' .. bucket_id, write_bucket(bucket))
end
redis.call('ZREM', due_key, member)
return 'expired'
