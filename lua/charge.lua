--[[
charge: apply one CCR of a session to an account, all its lines together or not at all.

KEYS[1] account            hash, see include/account-lines.lua
KEYS[2] session            hash, see include/session-lines.lua
KEYS[3] due                zset: when an open session must be looked at
KEYS[4] journal            stream: one entry a request that reached the account
KEYS[5] ended              hash: marks of sessions that end in this hour; later keys: the same of earlier hours, to find one
ARGV[1] request            words, as constants of a request cost less in one text than alone:
                           type        I | U | T
                           number      CC-Request-Number: a repeat gets its first answer again
                           content     hash of what the request asks and reports
                           deadline    ms of the store's clock: nothing is newly held after it; what was used is booked all the same
                           at          ms, business time of the request
                           now         ms, business clock: holds and silence count from it
                           account_id
                           subscriber  its number in the account
                           rev         of the account's profile that the programs were compiled for
                           currency
                           mark        short name of the session in `ended`
ARGV[2] session_id
ARGV[3] cause              JSON members for the ledger entry, without braces
ARGV[4] times              silence factor, then ms: default validity, keep closed, keep marks
ARGV[5] opened             for the session's `opened` field: when, and the Origin-Host
then one a line:           key, used units, wanted units or '-', 'threshold' or '-', and the charging program (src/rating/program.ts)

Replies one text. Nothing was changed by: moved <currency> <rev> <subscriptions>|<subscribers>, unknown_session, other_account <id>, other_subscriber,
no_account, expired (past the deadline), too_large <line>, defect <what>. Otherwise <how> <cost> <overrun> <answer>: how is
new | reordered | again | mismatch | old; cost and overrun are the micros of this request;
answer is <outcome> <charged> <lines>; outcome is ok | refused | barred | terminated | ended | reported; a line is <key>=<word>,<units>,<final>,<terms>
and its word granted | free | exhausted | denied (units: the code) | unrated | booked (nothing asked).
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include numbers
-- @include price
-- @include booking

local account_key, session_key, due_key, journal_key, ended_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local request_type, number, content, deadline, at, now, account_id, subscriber, rev, currency, mark =
  match(ARGV[1], '^([IUT]) (%d+) (%S+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
local request_number, session_id, cause, opened = number, ARGV[2], ARGV[3], ARGV[5]
local silence_factor, default_validity, keep_closed, keep_marks = match(ARGV[4], '^(%d+) (%d+) (%d+) (%d+)$')
assert(mark and keep_marks and opened, 'arguments')
number, deadline, at, now = tonumber(number), tonumber(deadline), tonumber(at), tonumber(now)
local answer_field = 'answer:' .. number % 5

-- Read: the session.
local lines, fields = {}, { 'state', answer_field }
for i = 6, #ARGV do
  local key, reported, wanted, threshold, program = match(ARGV[i], '^(%S+) (%d+) (%S+) (%S+) (.*)$')
  lines[#lines + 1] = { key = key, reported = tonumber(reported), wanted = tonumber(wanted), threshold = threshold == 'threshold', program = program }
  fields[#fields + 1] = 'line:' .. key
end
local values = redis.call('HMGET', session_key, unpack(fields))
local state, first_answer = values[1] and read_state(values[1]), values[2]
for i, line in ipairs(lines) do line.session = read_line(line.key, values[i + 2]) end

-- The present grant of a line, for requests that add nothing.
local function present(line)
  local s = line.session
  if s.granted == 0 then return line.key .. '=booked,0,0' end
  local stored = redis.call('HGET', session_key, 'program:' .. s.program)
  local program = stored and read_program(stored) or read_program(line.program)
  return format('%s=granted,%d,0,%s,%s', line.key, s.granted, program.unit, program.terms)
end

local resumed = false -- a repeat of a request that was reported, not granted
if state then
  if state.account ~= account_id then return 'other_account ' .. state.account end
  if was_answered(state, number) then
    local first_number, first_content, done, answer
    if first_answer then first_number, first_content, done, answer = match(first_answer, '^(%d+) (%S+) (%a+) (.*)$') end
    if first_number ~= request_number then
      local words = {}
      for i, line in ipairs(lines) do words[i] = present(line) end
      return format('old 0 0 ok %d %s', state.charged, concat(words, ';'))
    end
    if first_content ~= content then return 'mismatch 0 0 ' .. answer end
    if done == 'done' then return 'again 0 0 ' .. answer end
    resumed = true
  end
  if state.subscriber ~= subscriber then return 'other_subscriber' end
end
local open = state and state.status == 'open'
local marked
if not state and #KEYS > 5 then
  for i = 5, #KEYS do
    local found = redis.call('HGET', KEYS[i], mark)
    if found then
      local last, owner = match(found, '^(%d+) (.*)$')
      if owner == account_id then
        if number <= tonumber(last) then return request_type == 'T' and 'old 0 0 ok 0 ' or 'old 0 0 ended 0 ' end
        marked = tonumber(last)
      end
      break
    end
  end
end
local late = (state and not open and request_type ~= 'I') or marked ~= nil
local unknown = not state and not marked and request_type ~= 'I'
if unknown and #KEYS == 5 then return 'unknown_session' end

-- Read: the account.
values = redis.call('HMGET', account_key, 'funds', 'order')
if not values[1] then return 'no_account' end
local funds, order = read_funds(values[1]), values[2]
if funds.rev ~= rev then
  values = redis.call('HMGET', account_key, 'currency', 'subscriptions', 'subscribers')
  return format('moved %s %s %s|%s', values[1], funds.rev, values[2], values[3])
end
local clock = redis.call('TIME')
local past = clock[1] * 1000 + floor(clock[2] / 1000) > deadline
if past and (request_type == 'I' or resumed) then return 'expired' end
if unknown then
  local unrated = {}
  for _, line in ipairs(lines) do if line.reported > 0 then unrated[#unrated + 1] = format('{"line":"%s","unrated":%d}', line.key, line.reported) end end
  if #unrated > 0 then
    funds.seq = funds.seq + 1
    redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"outcome":"unknown","posts":[],"lines":[%s]}',
      account_id, funds.seq, at, cause, concat(unrated, ',')))
    redis.call('HSET', account_key, 'funds', write_funds(funds))
  end
  return 'unknown_session'
end

local barred = funds.status ~= 'active'
local no_service = funds.status == 'terminated' and 'terminated' or 'barred'
if not state then
  state = {
    status = 'open', account = account_id, subscriber = subscriber, ends = 0, armed = 0, silence = 0,
    number = marked or number - 1, gaps = '-', charged = 0,
  }
  if marked then
    state.status = 'lost' -- what came before is forgotten: closed, and no run is the one that opens its line
  elseif number > 0 then
    state.gaps = format('0-%d', number - 1)
  end
end
if late and state.status == 'lost' then
  for _, line in ipairs(lines) do if line.session.by < 0 then line.session.runs = { 'lost', 0 } end end
end
local reopened = state.status ~= 'open' and not late and not resumed
local reordered = not resumed and (number ~= state.number + 1)
local all_lines = open and (request_type ~= 'U' or barred) -- whatever the session holds goes back
local others = {}
if all_lines then
  local named = {}
  for _, line in ipairs(lines) do named['line:' .. line.key] = true end
  local all = redis.call('HGETALL', session_key)
  for i = 1, #all, 2 do
    local key = match(all[i], '^line:(.*)$')
    if key and not named[all[i]] then
      local line = read_line(key, all[i + 1])
      if holds_something(line) or line.granted > 0 then others[#others + 1] = line end
    end
  end
end

-- Read: the programs and the buckets that they name or that lines hold.
local programs = {}
local function program_of(text)
  local program = programs[text]
  if not program then
    program = read_program(text)
    programs[text] = program
  end
  return program
end
local names, held = {}, {}
for _, line in ipairs(lines) do
  line.now = program_of(line.program)
  line.old = line.now
  local s = line.session
  local under = (s.granted > 0 or late) and s.program or '-'
  if under ~= '-' and under ~= line.now.id then
    local stored = redis.call('HGET', session_key, 'program:' .. under)
    if stored then line.old = program_of(stored) end
  end
  for name in pairs(line.now.names) do names[name] = true end
  for name in pairs(line.old.names) do names[name] = true end
  for i = 1, #s.holds, 2 do held[s.holds[i]] = true end
end
for _, line in ipairs(others) do for i = 1, #line.holds, 2 do held[line.holds[i]] = true end end
local book = { funds = funds, currency = currency, at = now, by_id = {}, order = {}, posts = {}, changed = {} }
if order and order ~= '' then
  local ids = {}
  fields = {}
  for id, name in gmatch(order, '(%S+):(%S+)') do
    if names[name] or held[id] then
      ids[#ids + 1] = id
      fields[#ids] = 'bucket:' .. id
    end
  end
  if #ids > 0 then
    values = redis.call('HMGET', account_key, unpack(fields))
    for i, id in ipairs(ids) do
      local bucket = read_bucket(id, values[i])
      book.order[i], book.by_id[id] = bucket, bucket
    end
  end
end

-- Decide.
local overrun, charged_before = 0, state.charged

-- Money for `count` more units of the rate: from what the line held, else from what is free, then as debt.
local function spend(line, program, count, from_hold)
  local s, rate = line.session, program.rate
  local n, opening = run_of(s, rate)
  local cost = price(rate, n + count, opening) - price(rate, n, opening)
  move_run(s, rate, n + count)
  s.charged, state.charged = s.charged + cost, state.charged + cost
  local paid = from_hold and cost or min(cost, free_money(funds))
  local against = 'usage:' .. program.service
  post_money(book, -paid, against)
  if cost > paid then
    post_debt(book, cost - paid, against)
    overrun = overrun + cost - paid
  end
end

-- Books what a line used: from its holds, then free buckets, then money, then debt. All its holds end. Semantics.md section 6.
local function report(line)
  local s, program, rest = line.session, line.old, line.reported
  local against = 'usage:' .. program.service
  s.used = s.used + rest
  local holds, money = s.holds, s.money
  s.holds, s.money = {}, 0
  funds.held = funds.held - money
  for i = 1, #holds, 2 do
    local bucket = book.by_id[holds[i]]
    local count = min(rest, holds[i + 1])
    if count > 0 then
      post_bucket(book, bucket, -count, against)
      rest = rest - count
    end
    give_back(book, bucket, holds[i + 1])
  end
  if program.kind == 'free' then return end
  if rest > 0 and program.rate and money > 0 then
    local n, opening = run_of(s, program.rate)
    local count = min(rest, units_for(program.rate, n, opening, money))
    if count > 0 then
      spend(line, program, count, true)
      rest = rest - count
    end
  end
  if rest > 0 then
    for _, bucket in ipairs(book.order) do
      if rest == 0 then break end
      if program.names[bucket.name] and not ended(bucket, at) then
        local count = min(rest, bucket.left - bucket.held)
        if count > 0 then
          post_bucket(book, bucket, -count, against)
          rest = rest - count
        end
      end
    end
  end
  if rest > 0 and program.rate then
    spend(line, program, rest, false)
    rest = 0
  end
  line.unpaid = rest -- nobody to pay for it: shown in the ledger, nothing owed
end

-- Holds up to `count` units, and no more than the line may carry: buckets in draw order, then what the rate's next units cost. Returns how many.
local function hold(line, count)
  local s, program = line.session, line.now
  count = max(0, min(count, MOST[program.unit] - s.used))
  local rest = count
  for _, bucket in ipairs(book.order) do
    if rest == 0 then break end
    if program.names[bucket.name] and not ended(bucket, at) then
      local units = min(rest, bucket.left - bucket.held)
      if units > 0 then
        bucket.held = bucket.held + units
        book.changed[bucket.id] = bucket
        s.holds[#s.holds + 1], s.holds[#s.holds + 2] = bucket.id, units
        rest = rest - units
      end
    end
  end
  line.rated = 0
  if rest > 0 and program.rate then
    local n, opening = run_of(s, program.rate)
    local units = min(rest, units_for(program.rate, n, opening, free_money(funds)))
    if units > 0 then
      s.money = price(program.rate, n + units, opening) - price(program.rate, n, opening)
      funds.held = funds.held + s.money
      line.rated = units
      rest = rest - units
    end
  end
  return count - rest
end

-- Takes back what this request itself has held: as if it had not been, so nothing of it expires.
local function unhold(s)
  for i = 1, #s.holds, 2 do
    local bucket = book.by_id[s.holds[i]]
    bucket.held = bucket.held - s.holds[i + 1]
  end
  funds.held = funds.held - s.money
  s.holds, s.money = {}, 0
end

-- Is there anything that this line could still be granted? Semantics.md section 7: decided with all grants made.
local function nothing_left(line)
  local program = line.now
  if line.session.used + line.rest + line.units >= MOST[program.unit] then return true end
  for _, bucket in ipairs(book.order) do
    if program.names[bucket.name] and not ended(bucket, at) and bucket.left > bucket.held then return false end
  end
  if not program.rate then return true end
  local n, opening = run_of(line.session, program.rate)
  return units_for(program.rate, n + line.rated, opening, free_money(funds)) == 0
end

for _, line in ipairs(lines) do
  local s = line.session
  if resumed then line.reported = 0 end
  if s.used + line.reported > MOST[line.now.unit] then return 'too_large ' .. line.key end
  line.program_before = s.program
  line.stale = number < s.by
  line.rest = line.threshold and not line.stale and max(0, s.granted - line.reported) or 0
  if line.reported > 0 or holds_something(s) then
    report(line)
  end
end
if all_lines then for _, line in ipairs(others) do release(book, line) end end
repay(book)

local staying = not late and not barred and request_type ~= 'T'
local granting = staying and not past
-- What stands is covered before anything new is held: a grant that a later number decided, the rest of one that met its threshold.
for _, line in ipairs(lines) do
  if line.stale then
    if staying and line.session.granted > 0 then
      line.now = line.old
      if line.now.kind == 'pay' then hold(line, line.session.granted) end
    end
  elseif granting and line.rest > 0 and line.wanted and line.now.kind == 'pay' then
    hold(line, line.rest)
  end
end
local failed, first_failure, most_validity = 0, nil, 0
for _, line in ipairs(lines) do
  local s, program = line.session, line.now
  line.word, line.units, line.final = 'booked', 0, false
  if line.stale then
    -- A later number decided this line: its grant stands.
    if not staying then s.granted = 0
    elseif s.granted > 0 then line.word, line.units = 'granted', s.granted end
  else
    s.granted = 0
    if not granting then
      s.by = number
    elseif line.wanted == nil then
      s.by, s.ends = number, 0
    elseif program.kind == 'deny' then
      line.word, line.units, s.by = 'denied', program.code, number
    elseif program.kind == 'unrated' then
      line.word, s.by = 'unrated', number
    elseif program.kind == 'free' then
      if program.code ~= '0' then
        line.word, line.units = 'denied', program.code
      else
        line.word, line.units = 'free', min(line.wanted, MOST[program.unit] - s.used)
        s.granted = line.units
      end
      s.by = number
    else
      if line.rest > 0 then unhold(s) end -- the rest that was kept covered becomes part of the new hold
      local units = hold(line, line.rest + line.wanted) - line.rest
      if units > 0 then
        line.word, line.units, s.granted = 'granted', units, units
      else
        unhold(s)
        line.word = 'exhausted'
      end
      s.by = number
    end
  end
  if s.granted > 0 then
    s.program, s.ends = program.id, now + silence_factor * program.validity * 1000
    most_validity = max(most_validity, program.validity * 1000)
  end
  if line.word == 'denied' or line.word == 'unrated' or line.word == 'exhausted' then
    failed = failed + 1
    first_failure = first_failure or line
  end
end
for _, line in ipairs(lines) do
  if line.word == 'granted' and line.now.kind == 'pay' then line.final = nothing_left(line) end
end

local outcome = 'ok'
if late then outcome = 'ended'
elseif barred and request_type ~= 'T' then outcome = no_service
elseif past and request_type ~= 'T' then outcome = 'reported'
elseif request_type == 'I' and failed > 0 and failed == #lines then outcome = 'refused'
end
local closing = outcome == no_service or outcome == 'refused' or (request_type == 'T' and not late)
if closing and not late then
  for _, line in ipairs(lines) do release(book, line.session) end
end
local words, notes = {}, {}
for i, line in ipairs(lines) do
  local s, text = line.session, nil
  if line.word == 'granted' or line.word == 'free' then
    text = format('%s=%s,%d,%d,%s,%s', line.key, line.word, line.units, line.final and 1 or 0, line.now.unit, line.now.terms)
  elseif line.word == 'exhausted' then
    text = format('%s=exhausted,0,0,%s,%s', line.key, line.now.unit, line.now.terms)
  else
    text = format('%s=%s,%s,0', line.key, line.word, line.units)
  end
  words[i] = text
  local program = line.reported > 0 and line.old or line.now
  local rate, run = '-', 0
  if program.rate then
    rate = program.rate.id
    run = run_of(s, program.rate)
  end
  notes[i] = format('{"line":"%s","rule":"%s","rate":"%s","used":%d,"total":%d,"run":%d,"is":"%s","granted":%d,"held":%d%s%s}',
    line.key, program.rule, rate, line.reported, s.used, run, line.word, s.granted, s.money,
    #s.holds > 0 and format(',"holds":"%s"', write_pairs(s.holds)) or '', (line.unpaid or 0) > 0 and format(',"unpaid":%d', line.unpaid) or '')
end
local answer = format('%s %d %s', outcome, state.charged, concat(words, ';'))
if not resumed then note_answered(state, number) end
local wrong = defect(book) or state.charged > 2 * MOST_MONEY - 1 and 'charged out of range'
if wrong then return 'defect ' .. wrong end
funds.seq = funds.seq + 1
local nothing_to_keep = outcome == 'refused' or (outcome == no_service and request_type == 'I')
if nothing_to_keep and not open then
  for _, line in ipairs(lines) do if line.reported > 0 then nothing_to_keep = false end end -- a repeat must not debit again
else
  nothing_to_keep = false
end
local member, was_armed = 'session ' .. account_id .. ' ' .. session_id, state.armed
if closing then
  state.status, state.armed = 'closed', 0
elseif not late then
  state.status = 'open'
  if request_type == 'I' then state.silence = 0 end
  state.silence = max(state.silence, silence_factor * most_validity)
  state.ends = now + (state.silence > 0 and state.silence or silence_factor * default_validity)
  local ring = state.ends
  for _, line in ipairs(lines) do if line.session.ends > 0 and line.session.granted > 0 then ring = min(ring, line.session.ends) end end
  if state.armed == 0 or ring < state.armed then state.armed = ring end
end
local account_out, session_out = { 'funds', write_funds(funds) }, {}
for id, bucket in pairs(book.changed) do account_out[#account_out + 1], account_out[#account_out + 2] = 'bucket:' .. id, write_bucket(bucket) end
if not nothing_to_keep then
  local out = session_out
  for _, line in ipairs(lines) do
    local s = line.session
    if s.granted > 0 and s.program ~= line.program_before then
      out[#out + 1], out[#out + 2] = 'program:' .. line.now.id, line.now.text
    end
    out[#out + 1], out[#out + 2] = 'line:' .. line.key, write_line(s)
  end
  for _, line in ipairs(others) do out[#out + 1], out[#out + 2] = 'line:' .. line.key, write_line(line) end
  out[#out + 1], out[#out + 2] = 'state', write_state(state)
  local kept = first_answer and tonumber(match(first_answer, '^(%d+)'))
  if not kept or number >= kept then
    out[#out + 1], out[#out + 2] = answer_field, format('%s %s %s %s', request_number, content, outcome == 'reported' and 'reported' or 'done', answer)
  end
  if request_type == 'I' then out[#out + 1], out[#out + 2] = 'opened', opened end
  -- Redis takes no write back: what could refuse one below, a key of another type, shows here or at the first of them.
  if closing or late then redis.call('HLEN', ended_key) end
  if closing or state.armed ~= was_armed then redis.call('ZCARD', due_key) end
end
local entry = format('{"account":"%s","seq":%d,"at":%d,%s,"outcome":"%s","posts":[%s],"lines":[%s],"held":%d%s}',
  account_id, funds.seq, at, cause, outcome, concat(book.posts, ','), concat(notes, ','), funds.held,
  overrun > 0 and format(',"overrun":%d', overrun) or '')

-- Write.
redis.call('XADD', journal_key, '*', 'e', entry)
redis.call('HSET', account_key, unpack(account_out))
if not nothing_to_keep then
  redis.call('HSET', session_key, unpack(session_out))
  if closing or late then
    if closing or marked then redis.call('PEXPIRE', session_key, keep_closed) end
    redis.call('HSET', ended_key, mark, format('%d %s', state.number, account_id))
    redis.call('PEXPIRE', ended_key, keep_marks, 'NX')
    if closing then redis.call('ZREM', due_key, member) end
  else
    if reopened then redis.call('PERSIST', session_key) end
    if state.armed ~= was_armed then redis.call('ZADD', due_key, state.armed, member) end
  end
end
return format('%s %d %d %s', reordered and 'reordered' or 'new', state.charged - charged_before, overrun, answer)
