--[[
voucher-guess: count wrong codes of vouchers, and lock out who guesses. A try is counted before its code is looked at, so that many at once are
no way round it: no more than `most` codes are wrong or not known yet in one window.

KEYS[1] account, KEYS[2] principal, KEYS[3] outlet    texts: wrong 2 since 1795446694000 until 0 tries 3f2a=1795446699000,…
                           since: begin of the window; until: end of the lock; tries: not known yet how they end, each with its time
ARGV[1] step               try | wrong | right; end: neither, the code was not what was refused; clear: forget all of it
ARGV[2] token              of the try
ARGV[3] now                ms, business time
ARGV[4] most               of each key: 5 1000 50; 0: is not looked at
ARGV[5] window             ms
ARGV[6] lock               ms
ARGV[7] lost               ms after which a try that nobody ended no longer counts

Safe to repeat for the same token. A right code makes the account's wrong ones forgotten; behind the others stand many people. Replies one text: try: ok,
locked <until>, busy (as many tries as may be are under way); wrong: ok, or locked with the numbers of the keys that it has locked; else: ok.
]]
-- @include words

local guess_keys = { KEYS[1], KEYS[2], KEYS[3] }
local step, token, now, most, window, lock, lost = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local limits = {}
for limit in gmatch(most, '%d+') do limits[#limits + 1] = limit + 0 end
-- Read.
local guesses = {}
for i, key in ipairs(guess_keys) do
  local line = limits[i] > 0 and redis.call('GET', key) or 'wrong 0 since 0 until 0 tries '
  local wrong, since, ends, tries = match(line, '^wrong (%d+) since (%d+) until (%d+) tries (.*)$')
  local g = { wrong = wrong + 0, since = since + 0, ends = ends + 0, tries = {}, known = false }
  if g.since + window <= now then g.wrong, g.since = 0, now end
  for id, at in gmatch(tries, '([^=,]+)=(%d+)') do
    if id == token then g.known = true
    elseif at + lost > now then g.tries[#g.tries + 1] = id .. '=' .. at end
  end
  guesses[i] = g
end
-- Decide.
local answer, locked = 'ok', {}
if step == 'try' then
  local latest = 0
  for i, g in ipairs(guesses) do if limits[i] > 0 then latest = max(latest, g.ends) end end
  if latest > now then return 'locked ' .. digits(latest) end
  for i, g in ipairs(guesses) do
    if limits[i] > 0 and not g.known and g.wrong + #g.tries >= limits[i] then return 'busy' end
  end
end
local lines = {}
for i, g in ipairs(guesses) do
  if step == 'try' then g.tries[#g.tries + 1] = token .. '=' .. digits(now) end
  if step == 'wrong' and g.known then
    g.wrong = g.wrong + 1
    if g.wrong >= limits[i] then
      g.wrong, g.ends, locked[#locked + 1] = 0, now + lock, digits(i)
    end
  end
  if step == 'right' and i == 1 then g.wrong = 0 end
  if step == 'clear' then g.wrong, g.ends = 0, 0 end
  local empty = g.wrong == 0 and g.ends <= now and #g.tries == 0
  lines[i] = not empty and format('wrong %d since %d until %d tries %s', g.wrong, g.since, g.ends, concat(g.tries, ','))
end
if #locked > 0 then answer = 'locked ' .. concat(locked, ' ') end
local keep = digits(max(window, lock) + lost)
-- Write.
for i, key in ipairs(guess_keys) do
  if limits[i] > 0 then
    if lines[i] then redis.call('SET', key, lines[i], 'PX', keep) else redis.call('DEL', key) end
  end
end
return answer
