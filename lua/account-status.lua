--[[
account-status: put an account in or out of service.

KEYS[1] account, KEYS[2] journal, KEYS[3] due
ARGV[1] account_id, ARGV[2] status, ARGV[3] at (ms, business time), ARGV[4] cause (JSON members for the ledger entry)
ARGV[5] ask                what open sessions are to be asked for now, as due-turn.lua says; '' nothing

An account with a life cycle (include/life.lua) goes on in it while it is suspended by hand; put into service again, it is where its dates say.

Replies one text: no_account, unchanged, changed; with ` due` behind it when open sessions are to be asked.
]]
-- @include words
-- @include account-lines
-- @include life

local account_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3]
local account_id, status, at, cause, ask = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Read.
local values = redis.call('HMGET', account_key, 'funds', 'life')
if not values[1] then return 'no_account' end
-- Decide.
local funds, life = read_funds(values[1]), read_life(values[2])
local before = funds.status
if life and LIFE_OVER[life.phase] then return 'unchanged' end
if life then
  life.hand = status == 'suspended'
  if status == 'terminated' then enter(life, 'terminated', at) end
  status = life_status(life)
end
local same_life = not life or write_life(life) == values[2]
if before == status and same_life then return 'unchanged' end
-- Suspended by hand, too: its life cycle changes, and its status does not.
local said = before == status and string.gsub(cause, '"kind":"status"', '"kind":"life"', 1) or cause
funds.status, funds.seq = status, funds.seq + 1
local asked = ask ~= '' and funds.open > 0 and before ~= status
local when = life and life_due(life)
assert(ask == '' or ask == 'reauth' or ask == 'reauth-all' or ask == 'abort', 'ask')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"from":"%s","to":"%s","posts":[],"lines":[],"held":%d}',
  account_id, funds.seq, at, said, before, status, funds.held))
redis.call('HSET', account_key, 'funds', write_funds(funds))
if not same_life then redis.call('HSET', account_key, 'life', write_life(life)) end
if when then redis.call('ZADD', due_key, when, 'life ' .. account_id) end
if asked then redis.call('ZADD', due_key, at, ask .. ' ' .. account_id) end
return asked and 'changed due' or 'changed'
