--[[
account-profile: who belongs to an account, if its profile is still the one that the change was made from: subscribers with their identities,
their subscriptions, and the extras.

KEYS[1] account, KEYS[2] journal, KEYS[3] due, KEYS[4] census
ARGV[1] account_id
ARGV[2] rev                of the profile that was read
ARGV[3] at                 ms, business time
ARGV[4] cause              JSON members for the ledger entry; no identities
ARGV[5] subscribers, ARGV[6] subscriptions, ARGV[7] extras   as account-lines.lua says
ARGV[8] ended              numbers of subscriptions that end with this, with spaces between
ARGV[9] added              names of the offers of subscriptions that begin with this, with spaces between
ARGV[10] ask               what open sessions are to be asked for now, as due-turn.lua says; '' nothing

Replies one text: no_account, moved (the profile is another one: read it again), terminated, changed <rev>; with ` due` behind it when open sessions
are to be asked.
]]
-- @include words
-- @include account-lines
-- @include census

local account_key, journal_key, due_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, rev, at, cause, subscribers, subscriptions, extras = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local ended_ids, added, ask = ARGV[8], ARGV[9], ARGV[10]
-- Read.
local values = redis.call('HMGET', account_key, 'funds', 'subscriptions', 'subscribed', 'unpaid')
if not values[1] then return 'no_account' end
-- Decide.
local funds, offers, last = read_funds(values[1]), {}, tonumber(values[3] or '0')
if funds.rev ~= rev then return 'moved' end
if funds.status == 'terminated' or funds.status == 'recycled' then return 'terminated' end
assert(extras == '' or type(cjson.decode(extras)) == 'table', 'extras')
assert(at and cause and (ask == '' or ask == 'reauth' or ask == 'reauth-all' or ask == 'abort'), 'arguments')
for id, offer in gmatch(values[2] or '', '(%d+) (%S+)[^;]*') do offers[id] = offer end
local census, gone, unpaid = new_census(), {}, values[4] or ''
for id in gmatch(ended_ids, '%d+') do
  gone[#gone + 1] = 'subscription:' .. id
  last = max(last, id + 0)
  count(census, 'offer:' .. assert(offers[id], 'subscription'), -1)
  local left = {}
  for each, needs in gmatch(unpaid, '(%d+)=(%d+)') do if each ~= id then left[#left + 1] = each .. '=' .. needs end end
  unpaid = concat(left, ' ')
end
for offer in gmatch(added, '%S+') do count(census, 'offer:' .. offer, 1) end
local counts = #census.fields > 0 and counted(census, redis.call('HMGET', census_key, unpack(census.fields))) or {}
funds.seq, funds.rev = funds.seq + 1, digits(tonumber(rev) + 1)
local asked = ask ~= '' and funds.open > 0
local out = { 'funds', write_funds(funds), 'subscribers', subscribers, 'subscriptions', subscriptions, 'extras', extras }
if #gone > 0 then
  out[#out + 1], out[#out + 2] = 'subscribed', digits(last)
  if values[4] then out[#out + 1], out[#out + 2] = 'unpaid', unpaid end
end
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, funds.held))
redis.call('HSET', account_key, unpack(out))
if #gone > 0 then redis.call('HDEL', account_key, unpack(gone)) end
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if asked then redis.call('ZADD', due_key, at, ask .. ' ' .. account_id) end
return 'changed ' .. funds.rev .. (asked and ' due' or '')
