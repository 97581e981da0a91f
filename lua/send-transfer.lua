--[[
send-transfer: the first step of a transfer between accounts: what the sender gives leaves its free money, and what is to become of it is written
down, with a time at which a sweeper looks after it; semantics.md section 10.

KEYS[1] account (of the sender), KEYS[2] transfer, KEYS[3] journal, KEYS[4] due
ARGV[1] account_id, ARGV[2] id (of the transfer), ARGV[3] to (account of the receiver)
ARGV[4] amount, ARGV[5] fee   micros; the fee may be 0
ARGV[6] currency
ARGV[7] at                 ms, business time
ARGV[8] look               ms: when a sweeper is to look
ARGV[9] cause              JSON members for the ledger entry
ARGV[10] note              JSON { reason, actor } of the entries to come
ARGV[11] limits            `<day> <count> <sum>` as in credit.lua
ARGV[12] levels            as in adjust.lua

Replies one text: no_account, out_of_service <status>, currency_differs <currency>, insufficient <free>, limit_count <most>, limit_sum <most> <today>,
taken (the id stands for another transfer), known (this one); sent.

The transfer, a hash: state `sent bob 5000000 100000 EUR 1796079600000 7` (receiver, amount, fee, currency, at, entry of the sender), note, end.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include crediting

local account_key, transfer_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, id, to, amount, fee, currency = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local at, look, cause, note, limits, levels = tonumber(ARGV[7]), ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local day, most_count, most_sum = match(limits, '^(%d+) (%d+) (%d+)$')
day, most_count, most_sum = day + 0, most_count + 0, most_sum + 0
-- Read.
local known = redis.call('HGET', transfer_key, 'state')
if known then
  local receiver, much, of = match(known, '^%a+ (%S+) (%d+) %d+ (%S+)')
  return receiver == to and much + 0 == amount and of == currency and 'known' or 'taken'
end
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'transfers')
if not values[1] then return 'no_account' end
local funds = read_funds(values[1])
-- Decide.
if funds.status ~= 'active' and funds.status ~= 'grace' then return 'out_of_service ' .. funds.status end
if values[2] ~= currency then return 'currency_differs ' .. values[2] end
local sent = read_recharges(values[3] or nil)
turn_to_day(sent, day)
local today = tally_of(sent.channels, 'out')
if most_count > 0 and today.count + 1 > most_count then return format('limit_count %d', most_count) end
if most_sum > 0 and today.sum + amount > most_sum then return format('limit_sum %d %d', most_sum, today.sum) end
local free, before = free_money(funds), funds.money
if amount + fee > free then return format('insufficient %d', free) end
sent.count, today.count, today.sum = sent.count + 1, today.count + 1, today.sum + amount
local book = new_book(funds, currency, at)
funds.seq = funds.seq + 1
post_money(book, -amount, 'transfer')
post_money(book, -fee, 'fee')
warn_money(book, before, levels)
assert(tonumber(look) and note ~= '', 'arguments')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[%s],"lines":[],"held":%d%s}',
  account_id, funds.seq, at, cause, concat(book.posts, ','), funds.held, events_json(book)))
redis.call('HSET', account_key, 'funds', write_funds(funds), 'transfers', write_recharges(sent))
redis.call('HSET', transfer_key, 'state', format('sent %s %d %d %s %d %d', to, amount, fee, currency, at, funds.seq), 'note', note)
redis.call('ZADD', due_key, look, 'transfer ' .. account_id .. ' ' .. id)
return 'sent'
