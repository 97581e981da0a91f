--[[
expire-session: what is due in one account at a time: holds that ended, a session that is silent, or that is ended by command.

KEYS[1] account, KEYS[2] session, KEYS[3] due, KEYS[4] journal
ARGV[1] now                ms, business clock of the sweep
ARGV[2] offset             ms between business clock and the store's, for virtual time
ARGV[3] account_id
ARGV[4] session_id
ARGV[5] keep_silent        ms that the state of a silent session is kept
ARGV[6] force              'force' ends the session whatever its time, '' looks at the time
ARGV[7] actor              who asked, for the ledger

Safe with any number of sweepers: the deadline is read again here, and a session that reported in between is left alone.
Replies one text: skew (now differs from the store's clock by over 30 s: nothing done), gone, closed (had ended before), early,
released (some holds), silent, ended (by force), defect <what>.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking

local account_key, session_key, due_key, journal_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, offset, account_id, session_id, keep_silent, force, actor = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6] == 'force', ARGV[7]
local member = 'session ' .. account_id .. ' ' .. session_id
-- Read.
local clock = redis.call('TIME')
local skew = now - offset - (clock[1] * 1000 + floor(clock[2] / 1000))
if not force and (skew > 30000 or skew < -30000) then return 'skew' end
local all = redis.call('HGETALL', session_key)
local state, lines, currency = nil, {}, nil
for i = 1, #all, 2 do
  if all[i] == 'state' then state = read_state(all[i + 1]) end
  local key = match(all[i], '^line:(.*)$')
  if key then lines[#lines + 1] = read_line(key, all[i + 1]) end
end
local account = redis.call('HMGET', account_key, 'funds', 'order', 'currency')
if not state or state.status ~= 'open' or not account[1] then
  redis.call('ZREM', due_key, member)
  return state and state.status ~= 'open' and 'closed' or 'gone'
end
if not force and state.armed > now then
  redis.call('ZADD', due_key, state.armed, member)
  return 'early'
end
local silent = force or state.ends <= now
local book = new_book(read_funds(account[1]), account[3], now)
local free_before = free_money(book.funds)
local released, next_ring, notes = {}, state.ends, {}
for _, line in ipairs(lines) do
  if line.granted > 0 or holds_something(line) then
    if silent or line.ends <= now then released[#released + 1] = line
    else next_ring = min(next_ring, line.ends) end
  end
end
local buckets, counters = {}, {}
for _, line in ipairs(released) do note_held(line, buckets, counters) end
for id in pairs(buckets) do book.by_id[id] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
for name in pairs(counters) do book.counters[name] = read_counter(name, redis.call('HGET', account_key, 'counter:' .. name)) end
-- Decide.
for i, line in ipairs(released) do
  notes[i] = format('{"line":"%s","granted":%d,"released":%d%s}', line.key, line.granted, line.money,
    (#line.holds > 0 and format(',"units":"%s"', write_pairs(line.holds)) or '') .. (#line.cash > 0 and format(',"cash":"%s"', write_pairs(line.cash)) or ''))
  release(book, line)
end
if silent then book.funds.open = book.funds.open - 1 end
repay(book)
warn_buckets(book)
local wrong = defect(book)
if wrong then return 'defect ' .. wrong end
local outcome = force and 'ended' or silent and 'silent' or #released > 0 and 'released' or 'early' -- only put back with its later time
local account_out, session_out = { 'funds', '' }, {}
for id, bucket in pairs(book.changed) do account_out[#account_out + 1], account_out[#account_out + 2] = 'bucket:' .. id, write_bucket(bucket) end
for name, counter in pairs(book.counters) do account_out[#account_out + 1], account_out[#account_out + 2] = 'counter:' .. name, write_counter(counter) end
for _, line in ipairs(released) do session_out[#session_out + 1], session_out[#session_out + 2] = 'line:' .. line.key, write_line(line) end
state.status, state.armed = silent and 'closed' or 'open', silent and 0 or next_ring
session_out[#session_out + 1], session_out[#session_out + 2] = 'state', write_state(state)
-- Money that is free again may pay a renewal that waits for it.
local free = free_money(book.funds)
local waiting = free > free_before and payable(redis.call('HGET', account_key, 'unpaid'), free) or NONE
assert(tonumber(keep_silent), 'keep_silent')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
-- Write.
if #released > 0 or silent then
  book.funds.seq = book.funds.seq + 1
  account_out[2] = write_funds(book.funds)
  redis.call('XADD', journal_key, '*', 'e', format(
    '{"account":"%s","seq":%d,"at":%d,"kind":"expire","session":%s,"actor":"%s","outcome":"%s","posts":[%s],"lines":[%s],"held":%d%s}',
    account_id, book.funds.seq, now, cjson.encode(session_id), actor, outcome, concat(book.posts, ','), concat(notes, ','), book.funds.held, events_json(book)))
  redis.call('HSET', account_key, unpack(account_out))
end
redis.call('HSET', session_key, unpack(session_out))
for _, id in ipairs(waiting) do redis.call('ZADD', due_key, now, format('renew %s %s', account_id, id)) end
if silent then
  redis.call('PEXPIRE', session_key, keep_silent)
  redis.call('ZREM', due_key, member)
else
  redis.call('ZADD', due_key, next_ring, member)
end
return outcome
