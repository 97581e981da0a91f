--[[
end-transfer: the last step of a transfer: the receiver has the money, or the sender gets it back, the fee with it; once.

KEYS[1] account (of the sender), KEYS[2] transfer, KEYS[3] journal, KEYS[4] due
ARGV[1] account_id, ARGV[2] id
ARGV[3] outcome            done | returned
ARGV[4] why                done: entry of the receiver; returned: a word, why it could not be credited
ARGV[5] at                 ms, business time
ARGV[6] keep               ms that the transfer is remembered from now on
ARGV[7] cause              JSON members for the ledger entry of what comes back

Replies one text: gone (there is no such transfer), no_account, too_large (there is no room for what comes back), ended (before); done; returned;
with ` due` behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include crediting

local account_key, transfer_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, id, outcome, why, at, keep, cause = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local member = 'transfer ' .. account_id .. ' ' .. id
-- Read.
local state = redis.call('HGET', transfer_key, 'state')
local line = redis.call('HGET', account_key, 'funds')
-- Decide.
local is, amount, fee, currency = match(state or '', '^(%a+) %S+ (%d+) (%d+) (%S+)')
if is ~= 'sent' then
  redis.call('ZREM', due_key, member)
  return is and 'ended' or 'gone'
end
if not line then return 'no_account' end
assert((outcome == 'done' or outcome == 'returned') and tonumber(keep), 'arguments')
local funds = read_funds(line)
local book = new_book(funds, currency, at)
if outcome == 'returned' then
  amount, fee = amount + 0, fee + 0
  if funds.money + amount + fee > MOST_MONEY - funds.credit then return 'too_large' end
  funds.seq = funds.seq + 1
  credit_money(book, amount, 'transfer')
  credit_money(book, fee, 'fee')
end
-- Money that came may pay a renewal that waits for it.
local waiting = payable(redis.call('HGET', account_key, 'unpaid'), free_money(funds))
local asked = outcome == 'returned' and funds.open > 0
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if outcome == 'returned' then
  redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[%s],"lines":[],"held":%d}',
    account_id, funds.seq, at, cause, concat(book.posts, ','), funds.held))
  redis.call('HSET', account_key, 'funds', write_funds(funds))
end
redis.call('HSET', transfer_key, 'state', outcome .. sub(state, #is + 1), 'end', format('%d %s', at, why))
redis.call('PEXPIRE', transfer_key, keep)
redis.call('ZREM', due_key, member)
for _, waits in ipairs(waiting) do redis.call('ZADD', due_key, at, format('renew %s %s', account_id, waits)) end
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return asked and 'returned due' or outcome
