--[[
account-status: put an account in or out of service.

KEYS[1] account, KEYS[2] journal
ARGV[1] account_id, ARGV[2] status, ARGV[3] at (ms, business time), ARGV[4] cause (JSON members for the ledger entry)

Replies one text: no_account, unchanged, changed.
]]
-- @include words
-- @include account-lines

local account_key, journal_key = KEYS[1], KEYS[2]
local account_id, status, at, cause = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
-- Read.
local line = redis.call('HGET', account_key, 'funds')
if not line then return 'no_account' end
-- Decide.
local funds = read_funds(line)
if funds.status == status then return 'unchanged' end
local before = funds.status
funds.status, funds.seq = status, funds.seq + 1
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"from":"%s","to":"%s","posts":[],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, before, status, funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds))
return 'changed'
