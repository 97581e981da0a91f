--[[
ask-session: who asks the gateway of a session something (RAR, ASR), and what came of it; one at a time.

KEYS[1] session            hash; its field `reauth` is `<command> <result> <at> <number> <tries> <token>`: result is sent, a Result-Code, timeout,
                           undeliverable, or ccr: no answer, but a request of the session that was newer than `number`
ARGV[1] step               claim | note
ARGV[2] command            RAR | ASR
ARGV[3] token              of this attempt, without spaces
ARGV[4] now                ms, business time
ARGV[5] lost               claim: ms after which an attempt without result is one of a daemon that died
ARGV[6] apart              claim: ms between two of one command; `<at least>,<when the gateway has not reacted>`, '0,0' asks at once
ARGV[7] result             note

Safe to repeat. Replies one text: gone (the session has ended), claimed; busy <until> (another attempt is under way, or was just made: look again
then); noted <result> <tries>.
]]
-- @include words
-- @include account-lines
-- @include session-lines

local session_key, step, command, token, now, lost, apart, result = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
-- Read.
local values = redis.call('HMGET', session_key, 'state', 'reauth')
local state = values[1] and read_state(values[1])
local last = {}
if values[2] then
  last.command, last.result, last.at, last.number, last.tries, last.token = match(values[2], '^(%S+) (%S+) (%d+) (%-?%d+) (%d+) (%S+)$')
  last.at, last.number, last.tries = last.at + 0, last.number + 0, last.tries + 0
end
-- Decide.
if not state or state.status ~= 'open' then return 'gone' end
local words
if step == 'claim' then
  if last.token == token then return 'claimed' end
  if last.result == 'sent' and last.at + lost > now then return format('busy %d', min(last.at + lost, now + 1000)) end
  local least, unanswered = match(apart, '^(%d+),(%d+)$')
  if last.command == command and last.result ~= 'undeliverable' then
    local at = last.at + (state.number > last.number and least or unanswered)
    if at > now then return format('busy %d', at) end
  end
  local failed = last.command == command and (last.result == 'timeout' or last.result == 'undeliverable')
  words = format('%s sent %d %d %d %s', command, now, state.number, failed and last.tries + 1 or 1, token)
else
  if last.token ~= token then return 'gone' end
  if result == 'timeout' and state.number > last.number then result = 'ccr' end
  words = format('%s %s %d %d %d %s', command, result, now, last.number, last.tries, token)
end
-- Write.
redis.call('HSET', session_key, 'reauth', words)
return step == 'claim' and 'claimed' or format('noted %s %d', result, last.tries)
