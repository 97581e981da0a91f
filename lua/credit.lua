--[[
credit: money into an account, once for its key. It repays debt first, the rest goes to `main`; semantics.md section 10.

KEYS[1] account, KEYS[2] once, KEYS[3] journal, KEYS[4] due
ARGV[1] account_id
ARGV[2] amount             micros, above 0
ARGV[3] currency
ARGV[4] at                 ms, business time
ARGV[5] source             for the posting: source:<channel>
ARGV[6] cause              JSON members for the ledger entry
ARGV[7] keep               ms that the key is remembered

Replies one text: no_account, terminated, currency_differs <currency>, too_large; credited | repeated <money> <debt> <seq>;
with ` due` behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking

local account_key, once_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, amount, currency, at, source, cause, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
-- Read.
local first_answer = redis.call('GET', once_key)
if first_answer then return 'repeated ' .. first_answer end
local values = redis.call('HMGET', account_key, 'funds', 'currency')
if not values[1] then return 'no_account' end
local funds = read_funds(values[1])
-- Decide.
if funds.status == 'terminated' then return 'terminated' end
if values[2] ~= currency then return 'currency_differs ' .. values[2] end
if amount > MOST_MONEY or funds.money + amount > MOST_MONEY - funds.credit then return 'too_large' end
local book = new_book(funds, currency, at)
local repaid = min(amount, funds.debt)
if repaid > 0 then post_debt(book, -repaid, source) end
post_money(book, amount - repaid, source)
funds.seq = funds.seq + 1
local asked = funds.open > 0
local answer = format('%d %d %d', funds.money, funds.debt, funds.seq)
assert(tonumber(keep), 'keep')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[%s],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, concat(book.posts, ','), funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds))
redis.call('SET', once_key, answer, 'PX', keep)
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return 'credited ' .. answer .. (asked and ' due' or '')
