--[[
account-extras: attributes, overrides and opt-ins of an account, all of them at once, if its profile is still the one they were made from.

KEYS[1] account, KEYS[2] journal, KEYS[3] due
ARGV[1] account_id
ARGV[2] rev                of the profile that was read
ARGV[3] extras             JSON, see Extras in src/balance/types.ts; '' for none
ARGV[4] at                 ms, business time
ARGV[5] cause              JSON members for the ledger entry: kind, before and after of what changed, reason, actor

Replies one text: no_account, moved (the profile is another one: read it again), changed <rev>; with ` due`
behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines

local account_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3]
local account_id, rev, extras, at, cause = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
-- Read.
local line = redis.call('HGET', account_key, 'funds')
if not line then return 'no_account' end
-- Decide.
local funds = read_funds(line)
if funds.rev ~= rev then return 'moved' end
assert(extras == '' or type(cjson.decode(extras)) == 'table', 'extras')
funds.seq, funds.rev = funds.seq + 1, digits(tonumber(rev) + 1)
local asked = funds.open > 0
assert(at and cause, 'arguments')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[],"lines":[],"held":%d}',
  account_id, funds.seq, at, cause, funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds), 'extras', extras)
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return 'changed ' .. funds.rev .. (asked and ' due' or '')
