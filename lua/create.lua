--[[
create: an account when it is missing, then a subscriber in it when its identities are not there yet. Changes nothing that exists.

KEYS[1] account, KEYS[2] due, KEYS[3] journal, KEYS[4] census
ARGV[1] account_id
ARGV[2] status             of the account, or its life cycle as include/life.lua writes it
ARGV[3] currency, ARGV[4] credit, ARGV[5] opening   of the account; micros
ARGV[6] at                 ms, business time
ARGV[7] source             of the opening balance: source:import
ARGV[8] cause              JSON members for the ledger entry
ARGV[9] identities         msisdn:491701000001 imsi:262011701000001; '' for no subscriber
ARGV[10] extras            of a new account, JSON or ''
ARGV[11] offers            count of offers; then each of them as include/granting.lua says. Their fees are not taken

Replies one text: created <subscriber> <rev> | exists <subscriber> <rev> | currency_differs <currency>.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include draw-order
-- @include census
-- @include granting
-- @include life

local account_key, due_key, journal_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, status, currency, credit, opening = ARGV[1], match(ARGV[2], '^%a+'), ARGV[3], ARGV[4], tonumber(ARGV[5])
local at, source, cause, identities, extras, offers = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local life = status ~= ARGV[2] and ARGV[2]
-- Read.
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'subscribers', 'subscriptions', 'order', 'subscribed')
local funds, subscribers, subscriptions, order = nil, values[3] or '', values[4] or '', values[5] or ''
local is_new = not values[1]
if is_new then
  funds = { status = status, money = 0, held = 0, credit = tonumber(credit), debt = 0, open = 0, seq = 0, rev = '0' }
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
local book = new_book(funds, currency, at)
funds.seq = funds.seq + 1
if is_new then post_money(book, opening, source) end
local taken = new_taken(subscriptions, values[6])
if joins then
  subscriber = digits(last + 1)
  subscribers = (subscribers == '' and '' or subscribers .. ';') .. subscriber .. ' ' .. identities
  local i = 12
  for _ = 1, offers do i = take_offer(book, taken, ARGV, i, subscriber, account_id) end
  funds.rev = digits(tonumber(funds.rev) + 1)
end
local made = taken.made
if #made > 0 then
  local all = {}
  for id in gmatch(order, '(%S+):%S+') do all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
  for _, bucket in ipairs(made) do all[#all + 1] = bucket end
  order = draw_order(all)
end
local dues = bucket_dues(taken.dues, made, account_id, at)
local life_at = is_new and life and life_due(read_life(life))
if life_at then dues[#dues + 1], dues[#dues + 2] = life_at, 'life ' .. account_id end
if #dues > 0 then redis.call('ZCARD', due_key) end -- a key of another type shows before anything is written
local census = taken.census
local counts = #census.fields > 0 and counted(census, redis.call('HMGET', census_key, unpack(census.fields))) or {}
local out = { 'funds', write_funds(funds), 'subscribers', subscribers, 'subscriptions', taken.subscriptions, 'order', order, 'currency', currency }
for _, bucket in ipairs(made) do out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket) end
for _, each in ipairs(taken.lines) do out[#out + 1] = each end
if is_new and life then out[#out + 1], out[#out + 2] = 'life', life end
if is_new and extras ~= '' then
  assert(type(cjson.decode(extras)) == 'table', 'extras')
  out[#out + 1], out[#out + 2] = 'extras', extras
end
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"subscriber":"%s","posts":[%s],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, subscriber, concat(book.posts, ','), funds.held))
redis.call('HSET', account_key, unpack(out))
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if #dues > 0 then redis.call('ZADD', due_key, unpack(dues)) end
return format('created %s %s', subscriber, funds.rev)
