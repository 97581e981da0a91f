--[[
create: an account when it is missing, then a subscriber in it when its identities are not there yet. Changes nothing that exists.

KEYS[1] account, KEYS[2] due, KEYS[3] journal
ARGV[1] account_id
ARGV[2] status, ARGV[3] currency, ARGV[4] credit, ARGV[5] opening   of the account; micros
ARGV[6] at                 ms, business time
ARGV[7] source             of the opening balance: source:import
ARGV[8] cause              JSON members for the ledger entry
ARGV[9] identities         msisdn:491701000001 imsi:262011701000001; '' for no subscriber
ARGV[10] offers            count of offers; then, for each: offer, count of buckets, and five a bucket: name, unit, amount, until (0: never), priority

Replies one text: created <subscriber> <rev> | exists <subscriber> <rev> | currency_differs <currency>.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking

local account_key, due_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local account_id, status, currency, credit, opening = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local at, source, cause, identities, offers = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
-- Read.
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'subscribers', 'subscriptions', 'order')
local funds, subscribers, subscriptions, order = nil, values[3] or '', values[4] or '', values[5] or ''
local is_new = not values[1]
if is_new then
  funds = { status = status, money = 0, held = 0, credit = tonumber(credit), debt = 0, seq = 0, rev = '0' }
else
  if values[2] ~= currency then return 'currency_differs ' .. values[2] end
  funds = read_funds(values[1])
end
-- Decide.
local subscriber, last = '0', 0
for id, known in gmatch(subscribers, '(%d+) ([^;]+)') do
  last = max(last, tonumber(id))
  for identity in gmatch(identities, '%S+') do
    for other in gmatch(known, '%S+') do if other == identity then subscriber = id end end
  end
end
local joins = identities ~= '' and subscriber == '0'
if not is_new and not joins then return format('exists %s %s', subscriber, funds.rev) end
local book = { funds = funds, currency = currency, at = at, by_id = {}, order = {}, posts = {}, changed = {} }
funds.seq = funds.seq + 1
if is_new then post_money(book, opening, source) end
local made = {}
if joins then
  subscriber = digits(last + 1)
  subscribers = (subscribers == '' and '' or subscribers .. ';') .. subscriber .. ' ' .. identities
  local next_subscription = 0
  for id in gmatch(subscriptions, '(%d+) [^;]+') do next_subscription = max(next_subscription, tonumber(id)) end
  local i = 11
  for _ = 1, offers do
    local offer, buckets = ARGV[i], tonumber(ARGV[i + 1])
    i = i + 2
    next_subscription = next_subscription + 1
    subscriptions = (subscriptions == '' and '' or subscriptions .. ';') .. format('%d %s %d %s', next_subscription, offer, at, subscriber)
    for _ = 1, buckets do
      local id = format('%d-%d', funds.seq, #made + 1)
      local bucket = { id = id, name = ARGV[i], unit = ARGV[i + 1], left = 0, held = 0, ends = tonumber(ARGV[i + 3]), priority = tonumber(ARGV[i + 4]) }
      bucket.rest = format(' priority %d origin %s', bucket.priority, offer)
      post_bucket(book, bucket, tonumber(ARGV[i + 2]), 'offer')
      made[#made + 1] = bucket
      i = i + 5
    end
  end
  funds.rev = digits(tonumber(funds.rev) + 1)
end
-- Draw order: priority, earliest end (none last), oldest. Ids are made in the order of time.
if #made > 0 then
  local all = {}
  for id in gmatch(order, '(%S+):%S+') do
    local bucket = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id))
    bucket.priority = tonumber(match(bucket.rest, '^ priority (%d+)'))
    all[#all + 1] = bucket
  end
  for _, bucket in ipairs(made) do all[#all + 1] = bucket end
  for _, bucket in ipairs(all) do
    local entry, n = match(bucket.id, '^(%d+)-(%d+)$')
    bucket.age = tonumber(entry) * 1000 + tonumber(n)
  end
  table.sort(all, function(a, b)
    if a.priority ~= b.priority then return a.priority < b.priority end
    if a.ends ~= b.ends then return b.ends == 0 or (a.ends ~= 0 and a.ends < b.ends) end
    return a.age < b.age
  end)
  local words = {}
  for i, bucket in ipairs(all) do words[i] = bucket.id .. ':' .. bucket.name end
  order = concat(words, ' ')
end
local out = { 'funds', write_funds(funds), 'subscribers', subscribers, 'subscriptions', subscriptions, 'order', order, 'currency', currency }
for _, bucket in ipairs(made) do out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket) end
if #made > 0 then redis.call('ZCARD', due_key) end -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"subscriber":"%s","posts":[%s],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, subscriber, concat(book.posts, ','), funds.held))
redis.call('HSET', account_key, unpack(out))
for _, bucket in ipairs(made) do
  if bucket.ends > 0 then redis.call('ZADD', due_key, bucket.ends, 'bucket ' .. account_id .. ' ' .. bucket.id) end
end
return format('created %s %s', subscriber, funds.rev)
