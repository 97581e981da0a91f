--[[
buy-offer: an account gets an offer, with its buckets, for its fee; once for its key.

KEYS[1] account, KEYS[2] due, KEYS[3] journal, KEYS[4] census, KEYS[5] once
ARGV[1] account_id
ARGV[2] at                 ms, business time
ARGV[3] cause              JSON members for the ledger entry
ARGV[4] subscriber         its number; 0: all of the account
ARGV[5] rev                of the profile that the offer was judged by
ARGV[6] keep               ms that the key is remembered
ARGV[7] fee                micros, from free money only
ARGV[8] offer              as include/granting.lua says, with what follows

Replies one text: no_account, terminated, no_subscriber, moved, insufficient <needs> <free>; subscribed | repeated <offer> <subscriber> <subscription>;
with ` due` behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include draw-order
-- @include census
-- @include granting

local account_key, due_key, journal_key, census_key, once_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local account_id, at, cause, subscriber, rev, keep, fee, offer = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
-- Read.
local first_answer = redis.call('GET', once_key)
if first_answer then return 'repeated ' .. first_answer end
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'subscribers', 'subscriptions', 'order', 'subscribed')
if not values[1] then return 'no_account' end
local funds, currency, subscribers, subscriptions, order = read_funds(values[1]), values[2], values[3] or '', values[4] or '', values[5] or ''
local all = {}
for id in gmatch(order, '(%S+):%S+') do all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
-- Decide.
if funds.status == 'terminated' then return 'terminated' end
if funds.rev ~= rev then return 'moved' end
local known = subscriber == '0'
for id in gmatch(subscribers, '(%d+) [^;]+') do known = known or id == subscriber end
if not known then return 'no_subscriber' end
local free = free_money(funds)
if fee > free then return format('insufficient %d %d', fee, free) end
local book = new_book(funds, currency, at)
funds.seq, funds.rev = funds.seq + 1, digits(tonumber(rev) + 1)
post_money(book, -fee, 'fee')
local taken = new_taken(subscriptions, values[6])
take_offer(book, taken, ARGV, 8, subscriber, account_id)
for _, bucket in ipairs(taken.made) do all[#all + 1] = bucket end
local census = taken.census
local counts = counted(census, redis.call('HMGET', census_key, unpack(census.fields)))
local out = { 'funds', write_funds(funds), 'subscriptions', taken.subscriptions, 'order', draw_order(all) }
for _, bucket in ipairs(taken.made) do out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket) end
for _, each in ipairs(taken.lines) do out[#out + 1] = each end
local asked = funds.open > 0
local answer = format('%s %s %d', offer, subscriber, taken.last)
local entry = format('{"account":"%s","seq":%d,"at":%d,%s,"subscriber":"%s","subscription":"%d","offer":"%s","posts":[%s],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, subscriber, taken.last, offer, concat(book.posts, ','), funds.held)
local dues = bucket_dues(taken.dues, taken.made, account_id, at)
assert(keep, 'keep')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', entry)
redis.call('HSET', account_key, unpack(out))
redis.call('HSET', census_key, unpack(counts))
if #dues > 0 then redis.call('ZADD', due_key, unpack(dues)) end
redis.call('SET', once_key, answer, 'PX', keep)
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return 'subscribed ' .. answer .. (asked and ' due' or '')
