--[[
note: an entry in an account's ledger that moves nothing, once for its key.

KEYS[1] account, KEYS[2] once, KEYS[3] journal
ARGV[1] account_id
ARGV[2] at                 ms, business time
ARGV[3] cause              JSON members for the ledger entry
ARGV[4] keep               ms that the key is remembered

Replies one text: no_account; noted | repeated <seq>.
]]
-- @include words
-- @include account-lines

local account_key, once_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local account_id, at, cause, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
-- Read.
local first_answer = redis.call('GET', once_key)
if first_answer then return 'repeated ' .. first_answer end
local line = redis.call('HGET', account_key, 'funds')
-- Decide.
if not line then return 'no_account' end
local funds = read_funds(line)
funds.seq = funds.seq + 1
assert(keep + 0 > 0, 'keep')
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[],"lines":[],"held":%d}', account_id, funds.seq, at, cause, funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds))
redis.call('SET', once_key, digits(funds.seq), 'PX', keep)
return 'noted ' .. digits(funds.seq)
