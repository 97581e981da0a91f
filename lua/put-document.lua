--[[
put-document: a small JSON text under its id in a hash, if what stands there is still what the writer has read.

KEYS[1] hash
ARGV[1] id
ARGV[2] expected           the text that was read; '' for a new one
ARGV[3] text               '' takes it out

Safe to repeat: what is to be written and stands there already was written. Replies one text: done, moved.
]]
-- @include words

local key, id, expected, text = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
-- Read.
local found = redis.call('HGET', key, id) or ''
-- Decide.
if found == text then return 'done' end
if found ~= expected then return 'moved' end
assert(text, 'text')
-- Write.
if text == '' then redis.call('HDEL', key, id) else redis.call('HSET', key, id, text) end
return 'done'
