--[[
expire-bucket: the free part of a bucket expires at its end, or rolls over into another one; what sessions hold of it stays theirs,
semantics.md section 8. A bucket that has ended and is empty leaves the account.

KEYS[1] account, KEYS[2] due, KEYS[3] journal, KEYS[4] census
ARGV[1] now, ARGV[2] offset   as in expire-session.lua
ARGV[3] account_id, ARGV[4] bucket_id, ARGV[5] member (of `due`)
ARGV[6] dry                '' expires. JSON {"account":{}} decides the same on these fields and writes nothing, as in charge.lua

Replies one text: skew, gone, early, expired; of a dry run `dry ` and JSON { account, removed }: fields that change, and one that goes or ''.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include draw-order
-- @include census
-- @include ending

local AFTER_RENEWAL = 60000 -- ms: a renewal that comes at the same instant ends it, with all the rest in one entry
local account_key, due_key, journal_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, offset, account_id, bucket_id, member, dry = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
assert(dry, 'arguments')
local given = dry ~= '' and cjson.decode(dry).account
-- Read.
local clock = redis.call('TIME')
local skew = now - offset - (clock[1] * 1000 + floor(clock[2] / 1000))
if not given and (skew > 30000 or skew < -30000) then return 'skew' end
local values
if given then values = { given.funds, given['bucket:' .. bucket_id], given.currency, '' }
else values = redis.call('HMGET', account_key, 'funds', 'bucket:' .. bucket_id, 'currency', 'order') end
if not values[1] or not values[2] then
  redis.call('ZREM', due_key, member)
  return 'gone'
end
local bucket = read_bucket(bucket_id, values[2])
if not ended(bucket, now) then
  if bucket.ends > 0 then redis.call('ZADD', due_key, bucket.ends, member) else redis.call('ZREM', due_key, member) end
  return 'early'
end
local sub = not given and match(bucket.rest, ' sub ([1-9]%d*) at ')
local renewed = sub and redis.call('HGET', account_key, 'subscription:' .. sub)
if renewed and bucket.ends == tonumber(match(renewed, '^active from %d+ until (%d+) ')) then
  redis.call('ZADD', due_key, now + AFTER_RENEWAL, member)
  return 'early'
end
local all = {}
for id in gmatch(values[4], '(%S+):%S+') do
  if id ~= bucket_id then all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
end
for name, text in pairs(given or {}) do
  local id = match(name, '^bucket:(.*)$')
  if id and id ~= bucket_id then all[#all + 1] = read_bucket(id, text) end
end
-- Decide.
local book, census = new_book(read_funds(values[1]), values[3], now), new_census()
local funds = book.funds
local rolled = end_bucket(book, bucket, format('%d-1', funds.seq + 1), census)
if rolled then all[#all + 1] = rolled end
local empty = bucket.left == 0
if not empty then all[#all + 1] = bucket end
if #book.posts > 0 then funds.seq = funds.seq + 1 end
local out = { 'funds', write_funds(funds), 'order', draw_order(all) }
for _, each in ipairs(all) do if book.changed[each.id] then out[#out + 1], out[#out + 2] = 'bucket:' .. each.id, write_bucket(each) end end
if given then
  local account = {}
  for i = 1, #out, 2 do account[out[i]] = out[i + 1] end
  return 'dry ' .. cjson.encode({ account = account, removed = empty and 'bucket:' .. bucket_id or '' })
end
local counts = #census.fields > 0 and counted(census, redis.call('HMGET', census_key, unpack(census.fields))) or {}
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if #book.posts > 0 then
  redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,"kind":"expiry","bucket":"%s"%s,"posts":[%s],"lines":[],"held":%d}',
    account_id, funds.seq, now, bucket_id, rolled and format(',"into":"%s"', rolled.id) or '', concat(book.posts, ','), funds.held))
end
redis.call('HSET', account_key, unpack(out))
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if empty then
  redis.call('HDEL', account_key, 'bucket:' .. bucket_id)
  redis.call('ZREM', due_key, member)
else
  redis.call('ZADD', due_key, now + LOOK_AGAIN, member)
end
if rolled then redis.call('ZADD', due_key, rolled.ends, 'bucket ' .. account_id .. ' ' .. rolled.id) end
return 'expired'
