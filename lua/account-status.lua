--[[
account-status: put an account in or out of service.

KEYS[1] account, KEYS[2] journal, KEYS[3] due
ARGV[1] account_id, ARGV[2] status, ARGV[3] at (ms, business time), ARGV[4] cause (JSON members for the ledger entry)
ARGV[5] ask                what open sessions are to be asked for now, as due-turn.lua says; '' nothing

Replies one text: no_account, unchanged, changed; with ` due` behind it when open sessions are to be asked.
]]
-- @include words
-- @include account-lines

local account_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3]
local account_id, status, at, cause, ask = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Read.
local line = redis.call('HGET', account_key, 'funds')
if not line then return 'no_account' end
-- Decide.
local funds = read_funds(line)
if funds.status == status then return 'unchanged' end
local before = funds.status
funds.status, funds.seq = status, funds.seq + 1
local asked = ask ~= '' and funds.open > 0
assert(ask == '' or ask == 'reauth' or ask == 'reauth-all' or ask == 'abort', 'ask')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"from":"%s","to":"%s","posts":[],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, before, status, funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds))
if asked then redis.call('ZADD', due_key, at, ask .. ' ' .. account_id) end
return asked and 'changed due' or 'changed'
