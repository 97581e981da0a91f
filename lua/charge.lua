--[[
charge: apply one CCR of a session, or a one-time event, to an account: all its lines together or not at all.

KEYS[1] account            hash, see include/account-lines.lua
KEYS[2] session            hash, see include/session-lines.lua
KEYS[3] due                zset: when an open session or a bucket must be looked at
KEYS[4] journal            stream: one entry a request that reached the account
KEYS[5] ended              hash: marks of sessions that end in this hour; later keys: the same of earlier hours, to find one
ARGV[1] request            words, as constants of a request cost less in one text than alone:
                           type        I | U | T; E: an event, whose lines are debited whole, at once, all of them or none
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
                           most        open sessions that the account may have, or '-'; of U and T 'record': usage of a session that has ended is noted, not charged;
                                       with ',barred' behind it: the subscriber is not served
ARGV[2] session_id
ARGV[3] cause              JSON members for the ledger entry, without braces
ARGV[4] times              silence factor, then ms: default validity, keep closed, keep marks; then the levels of main that leave an event, or '-'
ARGV[5] origin             Origin-Host, Origin-Realm, the Origin-Host of the peer that it came over, and the service context: a session has one
ARGV[6] periods            of the counters that the programs name: `name start end limit` joined by semicolons: ms of the period of `at`; limit '=': as the
                           program says, '-': none, or the account's own
ARGV[7] dry                '' charges. 'dry' decides the same and writes nothing; JSON {"account":{},"session":{}} does so on these fields instead of the store's
then one a line, in rows:  key, used units (one number, or `unsplit,before,after,indeterminate` of a tariff switch), asked units (a number, '*' without bound, '-'
                           nothing, '?' some that it is not sold in), 'threshold' or '-';
                           now <program>             src/rating/program.ts
                           next <time> <program>     when the price changes while a grant could live
                           prev <time> <program>     what applied before the time, for seconds without a grant that reach back
                           life <seconds>            of a grant, instead of what the program says
                           facts <JSON members>      for the ledger

Replies one text. Nothing was changed by: moved <currency> <rev> <subscriptions>|<subscribers>|<extras>, unknown_session, other_account <id>,
other_subscriber, no_account, expired (past the deadline), too_large <line>, too_many_sessions, session_open (an event with its name), other_service, defect <what>. Otherwise <how> <cost> <overrun> <answer>: how is
new | reordered | again | mismatch | old; cost and overrun are the micros of this request;
answer is <outcome> <charged> <balance> <lines>, of an event <paid> besides; balance: micros of main after it, less debt, or '-'; outcome is ok | refused | barred | terminated | ended | reported; a line is <key>=<word>,<units>,<final>,<switch>,<unit>,<terms>
and its word granted | free | exhausted | restricted (the same, where final units redirect or restrict) | waiting (they are used up, nothing asked) | denied (units: the
code) | unrated | booked (nothing asked). paid: for each line what paid it, as the ledger has it, joined by semicolons. A dry run replies
`dry ` and JSON: { reply, entry, account, session }: the entry it would write, and the fields that would change.
]]
-- @include words
-- @include account-lines
-- @include draw-order
-- @include session-lines
-- @include programs
-- @include numbers
-- @include price
-- @include booking
-- @include life

local account_key, session_key, due_key, journal_key, ended_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local request_type, number, content, deadline, at, now, account_id, subscriber, rev, currency, mark, most_sessions =
  match(ARGV[1], '^([IUTE]) (%d+) (%S+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
local request_number, session_id, cause, origin, periods, dry = number, ARGV[2], ARGV[3], ARGV[5], ARGV[6], ARGV[7]
local silence_factor, default_validity, keep_closed, keep_marks, money_levels = match(ARGV[4], '^(%d+) (%d+) (%d+) (%d+) (%S+)$')
assert(most_sessions and money_levels and origin and periods and dry, 'arguments')
local not_served = find(most_sessions, ',', 1, true)
if not_served then most_sessions = sub(most_sessions, 1, not_served - 1) end
number, deadline, at, now = tonumber(number), tonumber(deadline), tonumber(at), tonumber(now)
local answer_field, event_request = 'answer:' .. number % 5, request_type == 'E'

-- A dry run may bring its own account and session.
local given = dry ~= '' and dry ~= 'dry' and cjson.decode(dry)
local function fields_of(key, names)
  if not given then return redis.call('HMGET', key, unpack(names)) end
  local fields, list = key == account_key and given.account or given.session, {}
  for i, name in ipairs(names) do list[i] = fields[name] or false end
  return list
end
local function all_of(key)
  if not given then return redis.call('HGETALL', key) end
  local list = {}
  for name, value in pairs(key == account_key and given.account or given.session) do list[#list + 1], list[#list + 2] = name, value end
  return list
end

-- Read: the session.
local lines, fields = {}, { 'state', answer_field, 'opened' }
for i = 8, #ARGV do
  local key, used, asked, threshold, program = match(ARGV[i], '^(%S+) (%S+) (%S+) (%S+)\nnow (.*)$')
  local rows, more = find(program, '\n', 1, true), nil
  if rows then program, more = sub(program, 1, rows - 1), sub(program, rows) end
  local line = { key = key, asked = asked, threshold = threshold == 'threshold', program = program, more = more, before = 0, after = 0, indeterminate = 0 }
  if find(used, ',', 1, true) then
    local unsplit, before, after, indeterminate = match(used, '^(%d+),(%d+),(%d+),(%d+)$')
    line.unsplit, line.before, line.after, line.indeterminate = unsplit + 0, before + 0, after + 0, indeterminate + 0
  else
    line.unsplit = used + 0
  end
  line.reported = line.unsplit + line.before + line.after + line.indeterminate
  lines[#lines + 1] = line
  fields[#fields + 1] = 'line:' .. key
end
local values = fields_of(session_key, fields)
local state, first_answer, opened = values[1] and read_state(values[1]), values[2], values[3]
-- An event begins and ends with its request: nothing goes on from an earlier one of its name.
for i, line in ipairs(lines) do line.session = read_line(line.key, not event_request and values[i + 3]) end

-- Programs, once for each text. A term is what a line is charged by: a program, and where the price changes the time and the program from then on.
local programs = {}
local function program_of(text)
  local program = programs[text]
  if not program then
    program = read_program(text)
    programs[text] = program
  end
  return program
end
local function term_of(text)
  if not find(text, '\n', 1, true) then
    local program = program_of(text)
    return { id = program.id, text = text, a = program }
  end
  local first, time, second = match(text, '^([^\n]*)\n(%d+)\n(.*)$')
  local a, b = program_of(first), program_of(second)
  return { id = format('%s.%s.%s', a.id, b.id, time), text = text, a = a, b = b, at = time + 0 }
end
local function stored_term(id)
  local text = fields_of(session_key, { 'program:' .. id })[1]
  return text and term_of(text)
end

local resumed = false -- a repeat of a request that was reported, not granted
if state then
  if state.account ~= account_id then return 'other_account ' .. state.account end
  if was_answered(state, number) then
    local first_number, first_content, done, answer
    if first_answer then first_number, first_content, done, answer = match(first_answer, '^(%d+) (%S+) (%a+) (.*)$') end
    if first_number ~= request_number then
      -- Each line's present grant.
      local words = {}
      for i, line in ipairs(lines) do
        local grant = line.session
        if grant.granted == 0 then words[i] = line.key .. '=booked,0,0'
        else
          local term = stored_term(grant.program) or term_of(line.program)
          words[i] = format('%s=granted,%d,0,%d,%s,%s', line.key, grant.granted, term.at or 0, term.a.unit, term.a.terms)
        end
      end
      return format('old 0 0 ok %d - %s', state.charged, concat(words, ';'))
    end
    if first_content ~= content then return 'mismatch 0 0 ' .. answer end
    if done == 'done' then return 'again 0 0 ' .. answer end
    resumed = true
  end
  if state.subscriber ~= subscriber then return 'other_subscriber' end
end
local open = state and state.status == 'open'
if open and event_request then return 'session_open' end
-- Nearly always a session goes on as it came.
local same_origin = opened and sub(opened, -#origin - 1) == ' ' .. origin
if state and state.status ~= 'event' and request_type ~= 'I' and not event_request and opened and not same_origin and match(opened, ' (%S+)$') ~= match(origin, ' (%S+)$') then return 'other_service' end
local marked
if not state and #KEYS > 5 then
  for i = 5, #KEYS do
    local found = redis.call('HGET', KEYS[i], mark)
    if found then
      local last, owner = match(found, '^(%d+) (.*)$')
      if owner == account_id then
        if number <= tonumber(last) then return request_type == 'T' and 'old 0 0 ok 0 - ' or 'old 0 0 ended 0 - ' end
        marked = tonumber(last)
      end
      break
    end
  end
end
-- An event is no session: what is reported under its name is of none.
local unknown = (not state or state.status == 'event') and not marked and request_type ~= 'I' and not event_request
local late = not event_request and not unknown and ((state and not open and request_type ~= 'I') or marked ~= nil)
if unknown and #KEYS == 5 then return 'unknown_session' end

-- Read: the account.
values = fields_of(account_key, { 'funds', 'order' })
if not values[1] then return 'no_account' end
local funds, order = read_funds(values[1]), values[2]
if funds.rev ~= rev then
  values = fields_of(account_key, { 'currency', 'subscriptions', 'subscribers', 'extras' })
  return format('moved %s %s %s|%s|%s', values[1], funds.rev, values[2], values[3], values[4] or '')
end
local clock = redis.call('TIME')
local past = clock[1] * 1000 + floor(clock[2] / 1000) > deadline
if past and (request_type == 'I' or event_request or resumed) then return 'expired' end
if request_type == 'I' and not open and most_sessions ~= '-' and funds.open >= most_sessions + 0 then return 'too_many_sessions' end
if unknown then
  local unrated = {}
  for _, line in ipairs(lines) do if line.reported > 0 then unrated[#unrated + 1] = format('{"line":"%s","unrated":%d}', line.key, line.reported) end end
  if #unrated > 0 and dry == '' then
    funds.seq = funds.seq + 1
    redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"outcome":"unknown","posts":[],"lines":[%s]}',
      account_id, funds.seq, at, cause, concat(unrated, ',')))
    redis.call('HSET', account_key, 'funds', write_funds(funds))
  end
  return 'unknown_session'
end

local barred, first_use = funds.status ~= 'active', false
if barred and (funds.status == 'created' or funds.status == 'grace') then
  -- By its life cycle it may be served all the same; it is the first use that lua/life.lua makes it active for.
  local life = fields_of(account_key, { 'life' })[1]
  if life and life_serves(read_life(life)) then barred, first_use = false, funds.status == 'created' end
end
if not_served then barred, first_use = true, false end
local no_service = (funds.status == 'terminated' or funds.status == 'recycled') and 'terminated' or 'barred'
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
  for _, line in ipairs(lines) do if line.session.by < 0 then line.session.runs = { { id = 'lost', n = 0 } } end end
end
local reopened = state.status ~= 'open' and not late and not resumed
local reordered = not resumed and (number ~= state.number + 1)
local all_lines = open and (request_type ~= 'U' or barred) -- whatever the session holds goes back
local others, pooled = {}, false
for _, line in ipairs(lines) do pooled = pooled or line.session.pool ~= nil end
if all_lines or (pooled and open) then -- a pool is one credit of several lines
  local named = {}
  for _, line in ipairs(lines) do named['line:' .. line.key] = true end
  local all = all_of(session_key)
  for i = 1, #all, 2 do
    local key = match(all[i], '^line:(.*)$')
    if key and not named[all[i]] then
      local line = read_line(key, all[i + 1])
      if holds_something(line) or line.granted > 0 then others[#others + 1] = line end
    end
  end
end

-- Read: what the lines are charged by, and the buckets and counters that this names or that lines hold.
local period_of = {}
if periods ~= '' then
  for name, start, ends, limit in gmatch(periods, '([^%s;]+) (%d+) (%d+) ([^;]+)') do period_of[name] = { start = start + 0, ends = ends + 0, limit = limit } end
end
local names, held, counted = {}, {}, {}
local function note_program(program)
  if program.noted then return end
  program.noted = true
  for name in pairs(program.before) do names[name] = true end
  for name in pairs(program.after) do names[name] = true end
  for name in pairs(program.money) do names[name] = true end
  for _, c in ipairs(program.counters) do
    c.full = format('%s.%s', c.name, c.per == 'a' and '0' or subscriber)
    c.period = period_of[c.name]
    if c.period and c.period.limit ~= '=' then c.limit = tonumber(c.period.limit) end
    if c.what == 't' then program.tiers = c end
    counted[c.full] = true
  end
end
local function note_term(term)
  note_program(term.a)
  if term.b then note_program(term.b) end
end
for _, line in ipairs(lines) do
  local time, program
  if line.more then
    time, program = match(line.more, '\nnext (%d+) ([^\n]*)')
    line.life = match(line.more, '\nlife (%d+)')
  end
  line.now = term_of(time and format('%s\n%s\n%s', line.program, time, program) or line.program)
  line.old = nil
  local s = line.session
  local under = (s.granted > 0 or late) and s.program or '-'
  if under == line.now.id then line.old = line.now
  elseif under ~= '-' then line.old = stored_term(under) end
  if not line.old then
    -- By what applies now: seconds may reach back to what applied before.
    if line.more then time, program = match(line.more, '\nprev (%d+) ([^\n]*)') else time = nil end
    if time then line.old = term_of(format('%s\n%s\n%s', program, time, line.program))
    elseif line.now.b then line.old = term_of(line.program)
    else line.old = line.now end
  end
  line.facts = line.more and match(line.more, '\nfacts ([^\n]*)')
  note_term(line.now)
  note_term(line.old)
  note_held(s, held, counted)
end
for _, line in ipairs(others) do note_held(line, held, counted) end
local book = new_book(funds, currency, now)
local ids, counter_names = {}, {}
fields = {}
if given then -- nobody has put its buckets in order
  local all = {}
  for name, text in pairs(given.account) do
    local id = match(name, '^bucket:(.*)$')
    if id then all[#all + 1] = read_bucket(id, text) end
  end
  order = draw_order(all)
end
if order and order ~= '' then
  for id, name in gmatch(order, '(%S+):(%S+)') do
    if names[name] or held[id] then
      ids[#ids + 1] = id
      fields[#ids] = 'bucket:' .. id
    end
  end
end
for name in pairs(counted) do
  counter_names[#counter_names + 1] = name
  fields[#fields + 1] = 'counter:' .. name
end
if #fields > 0 then
  values = fields_of(account_key, fields)
  for i, id in ipairs(ids) do
    local bucket = read_bucket(id, values[i])
    book.order[i], book.by_id[id] = bucket, bucket
  end
  for i, name in ipairs(counter_names) do book.counters[name] = read_counter(name, values[#ids + i]) end
end

-- Decide.
local charged_before, money_before, free_before = state.charged, funds.money, free_money(funds)

-- @include taking
-- @include holding
-- @include pools

-- Is there anything that this line could still be granted? Semantics.md section 7: decided with all grants made.
local function nothing_left(line)
  local term, was, stopped, free, needs = line.now, line.skipped, line.stopped, line.free, line.needs
  line.skipped, line.stopped = nil, nil
  -- Whole volume may become cheaper further on, where one unit more is too dear.
  local function next_units(program) return program.rate and program.rate.volume and MOST[program.unit] or 1 end
  local nothing = plan(line, term.a, next_units(term.a), nil, line.ahead).units == 0
  if not nothing and term.b then nothing = plan(line, term.b, next_units(term.b), term.at, line.ahead_new).units == 0 end
  if nothing then line.final_stop = line.stopped end
  line.skipped, line.stopped, line.free, line.needs = was, stopped, free, needs -- they say of the grant, not of what would come after it
  return nothing
end

-- Seconds for which the service is redirected or restricted when its funds end; nil: it is not.
local function restricted_for(program)
  if not find(program.terms, ',re[ds][it]') then return nil end
  return match(program.terms, '^%d+,%d+,redirect.*,while=(%d+)') or match(program.terms, '^%d+,%d+,restrict.*,while=(%d+)')
end

-- Thousandths of units a second that a line uses, measured from report to report where the size of grants follows it. What was measured before counts as
-- if it had gone on for the target time: neither a moment nor a calm hour misleads. A report without units counts, too: what a session got while it was
-- busy must not stay held while it is idle. Before it has used anything it says nothing, for as long as the target time.
local function measure(line)
  local s = line.session
  local most, target = match(line.old.a.quota, '^%d+,%d+,(%d+),(%d+)$')
  most, target = most + 0, target + 0
  local elapsed = now - s.since
  if target == 0 or elapsed <= 0 or (s.pace == 0 and line.reported == 0 and elapsed < target * 1000) then return end
  local before = s.pace > 0 and target * 1000 or 0
  local pace = ceil((s.pace * before + line.reported * 1000000) / (before + elapsed))
  s.pace = max(1, min(pace, ceil(most * 1000 / target)))
end

-- What could be held of so many units, without a note of it in the ledger.
local function affordable(line, count)
  local term, noted, stopped = line.now, line.skipped, line.stopped
  line.skipped = nil
  local p = plan(line, term.a, count)
  if term.b then
    local q = plan(line, term.b, p.units, term.at)
    if q.units < p.units then p = plan(line, term.a, q.units) end
  end
  line.skipped, line.stopped = noted, stopped
  return p
end

-- How many units to try for: what is asked, and the quota of the program. With a target the size follows the pace that was measured; where funds do not
-- cover the largest grant, no more than the line's share of them, in whole steps: the rest of one costs nothing more.
local function wanted_units(line)
  if event_request then return tonumber(line.asked) end
  local s, program = line.session, line.now.a
  local size, least, most, target = match(program.quota, '^(%d+),(%d+),(%d+),(%d+)$')
  size, least, most, target = size + 0, least + 0, most + 0, target + 0
  if program.kind == 'free' then size = most
  elseif target > 0 then
    if s.pace > 0 then size = max(least, min(most, ceil(s.pace * target / 1000))) end
    local all = affordable(line, line.rest + most).units - line.rest
    if all < most then
      size = min(size, max(least, floor(all / (funds.open + (open and 1 or 2)))))
      local rated = program.rate and affordable(line, line.rest + size).rated or 0
      if rated > 0 then
        local run, opening = run_of(s, program.rate)
        size = size + billable(program.rate, run.n + rated, opening) - run.n - rated
      end
    end
  end
  local asked = tonumber(line.asked)
  if asked then size = min(asked, size) end
  return max(size, least)
end

for _, line in ipairs(lines) do
  local s = line.session
  if resumed then line.reported, line.unsplit, line.before, line.after, line.indeterminate = 0, 0, 0, 0, 0 end
  if s.used + line.reported + (event_request and tonumber(line.asked) or 0) > MOST[line.now.a.unit] then return 'too_large ' .. line.key end
  line.program_before = s.program
  line.stale = number < s.by
  line.rest = (line.threshold or s.pool and request_type == 'U') and not line.stale and max(0, s.granted - line.reported) or 0
  line.granted_before = s.granted
  if line.old.a.rate then line.from = run_of(s, line.old.a.rate).n end
  if s.granted > 0 and s.since > 0 and not line.stale and not resumed then measure(line) end
  if late and most_sessions == 'record' then
    s.used, line.unpaid = s.used + line.reported, line.reported
  elseif line.reported > 0 or holds_something(s) or (s.pool and s.granted > 0) then
    if has_pools and s.pool then report_member(line) else report(line) end
  end
  line.booked = true
end
if all_lines then for _, line in ipairs(others) do release(book, line) end end
repay(book)

local staying = not late and not barred and request_type ~= 'T'
local granting = staying and not past
-- What stands is covered before anything new is held: a grant that a later number decided, the rest of one that met its threshold.
local function cover(line, count)
  if line.freed then cover_rest(line, count) else hold(line, line.now, count) end
end
for _, line in ipairs(lines) do
  if line.stale then
    if staying and line.session.granted > 0 then
      line.now = line.old
      if pays(line.now) then cover(line, line.session.granted) end
    end
  elseif granting and line.rest > 0 and line.asked ~= '-' and line.asked ~= '?' and pays(line.now) then
    cover(line, line.rest)
  end
end
local failed, most_validity = 0, 0
for _, line in ipairs(lines) do
  local s, term = line.session, line.now
  local program = term.a
  line.word, line.units, line.final = 'booked', 0, false
  if line.stale then
    -- A later number decided this line: its grant stands.
    if not staying then s.granted = 0
    elseif s.granted > 0 then line.word, line.units = 'granted', s.granted end
  else
    s.granted, s.by = 0, number
    if granting and line.asked == '-' then
      s.ends = 0
      if s.told and restricted_for(program) then line.word = 'waiting' end
    elseif granting and line.asked == '?' then line.word = 'unrated'
    elseif granting and program.kind == 'deny' then line.word, line.units = 'denied', program.code
    elseif granting and program.kind == 'unrated' then line.word = 'unrated'
    elseif granting and program.kind == 'free' and program.code ~= '0' then line.word, line.units = 'denied', program.code
    elseif granting then
      if line.rest > 0 then unhold(s) end -- the rest that was kept covered becomes part of the new hold
      local wanted = wanted_units(line)
      if pays(term) then
        local units = hold(line, term, line.rest + wanted) - line.rest
        if event_request and units < wanted then
          unhold(s)
          line.word = 'exhausted'
        elseif units > 0 then
          line.word, line.units, s.granted = 'granted', units, units
        else
          unhold(s)
          if has_pools and s.pool and line.rest > 0 then leave_rest(line) end
          -- Once it is restricted and there is still nothing, the offer decides whether it stays so.
          local again = s.told and line.granted_before == 0
          line.word = restricted_for(program) and not (again and not find(program.terms, ',repeat=1', 1, true)) and 'restricted' or 'exhausted'
        end
      else
        line.word, line.units = 'free', max(0, min(wanted, MOST[program.unit] - s.used))
        s.granted = line.units
      end
    end
  end
  if s.granted > 0 then
    local validity = (tonumber(line.life) or program.validity) * 1000
    s.program, s.ends = term.id, now + silence_factor * validity
    s.pool = find(program.terms, ',pool=', 1, true) and match(program.terms, ',pool=(%d+)') or nil
    if not line.stale then s.since = match(program.quota, '(%d+)$') ~= '0' and now or 0 end
    most_validity = max(most_validity, validity)
  else
    s.pool = nil
    if line.word == 'waiting' or line.word == 'restricted' then most_validity = max(most_validity, restricted_for(program) * 1000) end
  end
  -- Usage that no rule prices is told, also where nothing more is asked.
  if line.word == 'booked' and line.reported > 0 and line.old.a.kind == 'unrated' then line.word = 'unrated' end
  if line.word == 'denied' or line.word == 'unrated' or line.word == 'exhausted' then
    failed = failed + 1
  end
end
if event_request and failed > 0 then
  -- All or none: as if nothing had been tried.
  for _, line in ipairs(lines) do if line.word == 'granted' then unhold(line.session) end end
  for _, counter in pairs(book.counters) do counter.changed = nil end
  book.changed, first_used = {}, false
elseif event_request then
  for _, line in ipairs(lines) do
    if line.word == 'granted' or line.word == 'free' then
      line.reported, line.unsplit, line.old = line.units, line.units, line.now
      if line.now.a.rate then line.from = 0 end
      report(line)
      line.session.granted = 0
    end
  end
else
  for _, line in ipairs(lines) do
    if line.word == 'granted' and pays(line.now) then line.final = nothing_left(line) end
    if not line.stale then
      local told = line.word == 'exhausted' or line.word == 'restricted' or line.word == 'waiting'
      if line.final then told = not find(line.now.a.terms, '^%d+,%d+,none') end
      line.session.told = told
    end
  end
end

local outcome = 'ok'
if late then outcome = 'ended'
elseif barred and request_type ~= 'T' then outcome = no_service
elseif past and request_type ~= 'T' then outcome = 'reported'
elseif request_type == 'I' and failed > 0 and failed == #lines or event_request and failed > 0 then outcome = 'refused'
end
local closing = outcome == no_service or outcome == 'refused' or event_request or (request_type == 'T' and not late)
if closing and not late then
  for _, line in ipairs(lines) do release(book, line.session) end
end
local words, notes = {}, {}
for i, line in ipairs(lines) do
  local s, text = line.session, nil
  local now_program = line.now.a
  if line.word == 'granted' or line.word == 'free' then
    local terms = now_program.terms
    if line.life then terms = line.life .. match(terms, '^%d+(.*)$') end
    text = format('%s=%s,%d,%d,%d,%s,%s', line.key, line.word, line.units, line.final and 1 or 0, line.now.at or 0, now_program.unit, terms)
  elseif line.word == 'exhausted' or line.word == 'restricted' or line.word == 'waiting' then
    text = format('%s=%s,0,0,0,%s,%s', line.key, line.word, now_program.unit, now_program.terms)
  else
    text = format('%s=%s,%s,0', line.key, line.word, line.units)
  end
  words[i] = text
  local term = line.reported > 0 and line.old or line.now
  local program = term.a
  local rate, run = '-', 0
  if program.rate then
    rate = program.rate.id
    run = run_of(s, program.rate).n
  end
  local more = { line.sides }
  if #s.holds > 0 then more[#more + 1] = format(',"holds":"%s"', write_pairs(s.holds)) end
  if #s.cash > 0 then more[#more + 1] = format(',"cash":"%s"', write_pairs(s.cash)) end
  if (line.unpaid or 0) > 0 then more[#more + 1] = format(',"unpaid":%d', line.unpaid) end
  if line.reported > 0 then more[#more + 1] = format(',"unit":"%s","from":%d,"cost":%d,"paid":"%s"', program.unit, line.from or 0, line.cost or 0, line.paid and concat(line.paid, ',') or '') end
  if line.now ~= term then more[#more + 1] = format(',"next":"%s"', line.now.id) end
  if line.skipped then
    local list = {}
    for id, why in pairs(line.skipped) do list[#list + 1] = id .. ':' .. why end
    table.sort(list)
    more[#more + 1] = format(',"skipped":"%s"', concat(list, ','))
  end
  if line.stopped then more[#more + 1] = format(',"stop":"%s"', line.stopped) end
  if line.word == 'exhausted' then more[#more + 1] = format(',"free":%d,"needs":%d', line.free or 0, line.needs or 0) end
  if line.asked ~= '-' then more[#more + 1] = format(',"asked":"%s"', line.asked) end
  if line.final then more[#more + 1] = line.final_stop and format(',"final":1,"finalStop":"%s"', line.final_stop) or ',"final":1' end
  if line.facts then more[#more + 1] = ',' .. line.facts end
  notes[i] = format('{"line":"%s","rule":"%s","program":"%s","rate":"%s","used":%d,"total":%d,"run":%d,"is":"%s","granted":%d,"held":%d%s}',
    line.key, program.rule, term.id, rate, line.reported, s.used, run, line.word, s.granted, s.money, concat(more))
end
local answer = format('%s %d %d %s', outcome, state.charged, funds.money - funds.debt, concat(words, ';'))
if event_request then
  local paid_by = {}
  for i, line in ipairs(lines) do paid_by[i] = line.paid and concat(line.paid, ',') or '' end
  answer = format('%s %s', answer, concat(paid_by, ';'))
end
if not resumed then note_answered(state, number) end
local nothing_to_keep = outcome == 'refused' or (outcome == no_service and request_type == 'I')
if nothing_to_keep and not open then
  for _, line in ipairs(lines) do if line.reported > 0 then nothing_to_keep = false end end -- a repeat must not debit again
else
  nothing_to_keep = false
end
local member, was_armed = 'session ' .. account_id .. ' ' .. session_id, state.armed
if closing then
  state.status, state.armed = event_request and 'event' or 'closed', 0
elseif not late then
  state.status = 'open'
  if request_type == 'I' then state.silence = 0 end
  state.silence = max(state.silence, silence_factor * most_validity)
  state.ends = now + (state.silence > 0 and state.silence or silence_factor * default_validity)
  local ring = state.ends
  for _, line in ipairs(lines) do if line.session.ends > 0 and line.session.granted > 0 then ring = min(ring, line.session.ends) end end
  if state.armed == 0 or ring < state.armed then state.armed = ring end
end
if state.status == 'open' and not open then funds.open = funds.open + 1
elseif state.status ~= 'open' and open then funds.open = funds.open - 1 end
warn_buckets(book)
warn_money(book, money_before, money_levels)
local wrong = defect(book) or (state.charged > 2 * MOST_MONEY - 1 and 'charged out of range')
if wrong then return 'defect ' .. wrong end
funds.seq = funds.seq + 1
local account_out, session_out, counter_notes, begun, began_notes = { 'funds', write_funds(funds) }, {}, {}, {}, {}
for id, bucket in pairs(book.changed) do
  account_out[#account_out + 1], account_out[#account_out + 2] = 'bucket:' .. id, write_bucket(bucket)
  if bucket.begun then
    begun[#begun + 1] = bucket
    began_notes[#began_notes + 1] = format('"bucket:%s":%d', id, bucket.ends)
  end
end
for name, counter in pairs(book.counters) do
  if counter.changed then
    account_out[#account_out + 1], account_out[#account_out + 2] = 'counter:' .. name, write_counter(counter)
    counter_notes[#counter_notes + 1] = format('"%s":%d', name, counter.value)
    if counter.period ~= counter.was then began_notes[#began_notes + 1] = format('"counter:%s":%d', name, counter.period) end
  end
end
if first_used then
  local all, list = all_of(account_key), {}
  for i = 1, #all, 2 do
    local id = match(all[i], '^bucket:(.*)$')
    if id then list[#list + 1] = book.by_id[id] or read_bucket(id, all[i + 1]) end
  end
  account_out[#account_out + 1], account_out[#account_out + 2] = 'order', draw_order(list)
end
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
  if reopened or not same_origin and not late then
    out[#out + 1], out[#out + 2] = 'opened', format('%d %s', opened and not reopened and match(opened, '^%d+') or now, origin)
  end
end
local bucket_names = {}
for i, bucket in ipairs(book.order) do bucket_names[i] = format('"%s":"%s"', bucket.id, bucket.name) end
local entry = format('{"account":"%s","seq":%d,"at":%d,%s,"outcome":"%s","posts":[%s],"lines":[%s],"held":%d%s%s%s%s}',
  account_id, funds.seq, at, cause, outcome, concat(book.posts, ','), concat(notes, ','), funds.held,
  overrun > 0 and format(',"overrun":%d', overrun) or '', #bucket_names > 0 and ',"buckets":{' .. concat(bucket_names, ',') .. '}' or '', #counter_notes > 0 and ',"counters":{' .. concat(counter_notes, ',') .. '}' or '',
  (#began_notes > 0 and ',"began":{' .. concat(began_notes, ',') .. '}' or '') .. events_json(book))
local reply = format('%s %d %d %s', reordered and 'reordered' or 'new', state.charged - charged_before, overrun, answer)
if dry ~= '' then
  local account_now, session_now = {}, {}
  for i = 1, #account_out, 2 do account_now[account_out[i]] = account_out[i + 1] end
  for i = 1, #session_out, 2 do session_now[session_out[i]] = session_out[i + 1] end
  return 'dry ' .. cjson.encode({ reply = reply, entry = entry, account = account_now, session = session_now })
end
if not nothing_to_keep then
  -- Redis takes no write back: what could refuse one below, a key of another type, shows here or at the first of them.
  if closing or late then redis.call('HLEN', ended_key) end
  if closing or state.armed ~= was_armed then redis.call('ZCARD', due_key) end
end
-- Money that is free again may pay a renewal that waits for it.
local waiting = free_money(funds) > free_before and payable(redis.call('HGET', account_key, 'unpaid'), free_money(funds)) or NONE
if #begun > 0 or first_use or #waiting > 0 then redis.call('ZCARD', due_key) end

-- Write.
redis.call('XADD', journal_key, '*', 'e', entry)
redis.call('HSET', account_key, unpack(account_out))
if first_use and outcome == 'ok' then redis.call('ZADD', due_key, 'NX', at, 'life ' .. account_id .. ' used') end
for _, bucket in ipairs(begun) do
  redis.call('ZADD', due_key, bucket.ends, 'bucket ' .. account_id .. ' ' .. bucket.id)
  local told = next_told(bucket, at)
  if told then redis.call('ZADD', due_key, told, 'remind ' .. account_id .. ' bucket:' .. bucket.id) end
end
for _, id in ipairs(waiting) do redis.call('ZADD', due_key, now, format('renew %s %s', account_id, id)) end
if not nothing_to_keep then
  redis.call('HSET', session_key, unpack(session_out))
  if closing or late then
    if closing or marked then redis.call('PEXPIRE', session_key, event_request and keep_marks or keep_closed) end
    if not event_request then
      redis.call('HSET', ended_key, mark, format('%d %s', state.number, account_id))
      redis.call('PEXPIRE', ended_key, keep_marks, 'NX')
    end
    if closing then redis.call('ZREM', due_key, member) end
  else
    if reopened then redis.call('PERSIST', session_key) end
    if state.armed ~= was_armed then redis.call('ZADD', due_key, state.armed, member) end
  end
end
return reply
