--[[
settle-identity: an entry of the identity index becomes what the account says, unless another account has it.

KEYS[1] index              hash: field -> `<account> <subscriber>`
ARGV[1] field
ARGV[2] account_id, ARGV[3] subscriber     who has it now; subscriber '' nobody: the entry goes
ARGV[4] before             another account that it may be taken from, as it moves; '' none

Safe to repeat. Replies one text: done, or other <account>: it belongs to that one and was left alone.
]]
-- @include words

local key, field, account_id, subscriber, before = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- Read.
local value = redis.call('HGET', key, field)
-- Decide.
local owner = value and match(value, '^(%S+) ')
if owner and owner ~= account_id and owner ~= before then return 'other ' .. owner end
-- Write.
if subscriber ~= '' then redis.call('HSET', key, field, account_id .. ' ' .. subscriber)
elseif owner == account_id then redis.call('HDEL', key, field) end
return 'done'
