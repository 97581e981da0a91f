--[[
refund: gives back what an event debited, all lines of the request or none, each unit once. Semantics.md section 10.

KEYS[1] account            hash, see include/account-lines.lua
KEYS[2] session            hash of this request's own Session-Id: it keeps its answers as charge.lua does for events
KEYS[3] journal            stream
KEYS[4] due                set
KEYS[5] refunded           of the first line's debit: how many of its units were given back; later keys: the same of the other lines
ARGV[1] request            words: number, content (hash), deadline (ms of the store's clock), at, now (ms), account_id, subscriber, currency
ARGV[2] keep               ms: of answers; of what was refunded
ARGV[3] cause              JSON members for the ledger entry, without braces
ARGV[4] origin             Origin-Host, Origin-Realm, the Origin-Host of the peer that it came over, and the service context
then one a line, in rows:  key, units to give back (or '*': all that is left), unit, terms (both for the answer)
                           of <units> <until> <service> <id>   the debit: its units, how long it may be refunded (ms), for the ledger: id
                           rate <rate> <tiers>     src/rating/program.ts, or '- -'
                           counters <list>         `name.scope,what,period` joined by semicolons, or '-': what the debit moved, as a program says it, and in which period
                           paid <list>             what paid it, as charge.lua tells it of an event; or 'now': at the price of `rate`, from main

Replies one text: again | mismatch | old 0 0 <answer> as charge.lua; other_account <id>, session_open, no_account, terminated, expired (past the
deadline), currency_differs, refused <line> late | spent, defect <what>: nothing was changed; new <cost> 0 <answer>: cost below zero is what came back;
with `due ` before it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include programs
-- @include numbers
-- @include price
-- @include booking

local account_key, session_key, journal_key, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
assert(KEYS[5] and #KEYS == #ARGV, 'a key a line')
local request_number, content, deadline, at, now, account_id, subscriber, currency =
  match(ARGV[1], '^(%d+) (%S+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+)$')
local keep_answer, keep_refunded = match(ARGV[2], '^(%d+) (%d+)$')
local cause, origin = ARGV[3], ARGV[4]
assert(currency and keep_refunded and cause and origin, 'arguments')
local number, deadline, at, now = request_number + 0, deadline + 0, at + 0, now + 0

-- Read.
local answer_field = 'answer:' .. number % 5
local values = redis.call('HMGET', session_key, 'state', answer_field)
local state, first_answer = values[1] and read_state(values[1]), values[2]
if state then
  if state.account ~= account_id then return 'other_account ' .. state.account end
  if was_answered(state, number) then
    local first_number, first_content, answer = match(first_answer or '', '^(%d+) (%S+) %a+ (.*)$')
    if first_number ~= request_number then return format('old 0 0 ok %d - ', state.charged) end
    return (first_content == content and 'again' or 'mismatch') .. ' 0 0 ' .. answer
  end
  if state.status == 'open' then return 'session_open' end
end
values = redis.call('HMGET', account_key, 'funds', 'currency')
if not values[1] then return 'no_account' end
local funds = read_funds(values[1])
if funds.status == 'terminated' or funds.status == 'recycled' then return 'terminated' end
if values[2] ~= currency then return 'currency_differs' end
local clock = redis.call('TIME')
if clock[1] * 1000 + floor(clock[2] / 1000) > deadline then return 'expired' end
local book = new_book(funds, currency, now)
local lines = {}
for i = 5, #ARGV do
  local line = { refunded_key = KEYS[i] }
  line.key, line.asked, line.unit, line.terms, line.units, line.ends, line.service, line.id, line.rate, line.tiers, line.counters, line.paid = match(ARGV[i],
    '^(%S+) (%S+) (%a+) (%S+)\nof (%d+) (%d+) (%S+) (%S+)\nrate (%S+) (%S+)\ncounters (%S+)\npaid (.*)$')
  assert(line.paid, 'line')
  line.units, line.ends, line.rate = line.units + 0, line.ends + 0, read_rate(line.rate, line.tiers)
  line.before = (redis.call('GET', line.refunded_key) or 0) + 0
  lines[#lines + 1] = line
end
-- Two lines that name one debit give it back once.
local known = {}
for _, line in ipairs(lines) do
  if line.paid ~= 'now' then
    line.after_line = known[line.refunded_key]
    known[line.refunded_key] = line
  end
end

local function bucket_of(id, unit)
  local bucket = book.by_id[id]
  if not bucket then
    local text = redis.call('HGET', account_key, 'bucket:' .. id)
    -- It has ended and is gone: what comes back to it expires.
    bucket = text and read_bucket(id, text) or { id = id, unit = unit, left = 0, held = 0, ends = 1, gone = true }
    book.by_id[id] = bucket
  end
  return bucket
end
local function counter_of(name)
  local counter = book.counters[name]
  if not counter then
    counter = read_counter(name, redis.call('HGET', account_key, 'counter:' .. name))
    book.counters[name] = counter
  end
  return counter
end

-- Decide.

-- What paid: { what, units, amount } in the order in which it paid; a rate has the payments of its cost, money buckets and main.
local function payers_of(line)
  local payers, units, free = {}, 0, nil
  local function add(payer)
    payers[#payers + 1], units = payer, units + payer.units
  end
  if line.paid == 'now' and line.rate then
    local counter = '-'
    for name, what, period in gmatch(line.counters, '([^,;]+),(%a),(%d+)') do
      -- As if these units had been the last that it counted.
      local stands = counter_of(name).period == period + 0 and counter_of(name).value or 0
      if what == 't' then counter = max(0, stands - billable(line.rate, line.units, true)) end
    end
    add({ what = 'rate', units = line.units, n = 0, raw = 0, opening = true, counter = tonumber(counter), parts = {} })
    payers[1].cost = false
    return payers
  end
  for word in gmatch(line.paid == 'now' and '' or line.paid, '[^,]+') do
    local what, count, amount, more = match(word, '^([^:]+):(%d*):(%-?%d+):?(.*)$')
    amount = amount + 0
    if what == 'free' then free = { what = 'free', units = count + 0 } -- beyond a limit: they are the last
    elseif what == 'rate' then
      local n, opening, counter, raw = match(more, '^%x+:(%d+):(%d):([%d-]+):(%-?%d+)$')
      add({ what = 'rate', units = count + 0, cost = amount, n = n + 0, opening = opening == '1', counter = tonumber(counter), raw = raw + 0, parts = {} })
    elseif count == '' then
      local parts = payers[#payers].parts
      parts[#parts + 1] = { what = what, amount = amount }
    else
      local each, takes = match(more, '^(%d+):(%d+)$')
      add({ what = 'bucket', id = what, units = count + 0, amount = amount, each = tonumber(each), takes = tonumber(takes) })
    end
  end
  if free then add(free) end
  if units < line.units then add({ what = 'free', units = line.units - units }) end
  return payers
end

-- What the first `count` units of a payer cost: F(count), in its unit.
local function cost_up_to(line, payer, count)
  if payer.what == 'free' then return 0 end
  if payer.what == 'bucket' then
    if not payer.each then return count end
    return min(payer.amount, taken_by(payer, count))
  end
  local rate, n, opening = line.rate, payer.n, payer.opening
  local from, to = billable(rate, n, opening), billable(rate, n + count, opening)
  local grown = payer.counter and tier_price(rate, payer.counter + to - from) - tier_price(rate, payer.counter) or tier_price(rate, to) - payer.raw
  return price_of(rate, n + count, payer.raw + grown, opening) - price_of(rate, n, payer.raw, opening), to - from
end

-- Of the micros that a rate cost and that are to come back, how many go to each of those that paid: the last first. Less than nothing is main's.
local function shares(payer, micros)
  local list, rest = {}, micros
  for i = #payer.parts, 1, -1 do
    list[i] = max(0, min(rest, payer.parts[i].amount))
    rest = rest - list[i]
  end
  return list, rest
end

local function back_to_bucket(line, id, unit, amount)
  if amount == 0 then return end
  local bucket = bucket_of(id, unit)
  post_bucket(book, bucket, amount, 'usage:' .. line.service)
  if ended(bucket, now) then post_bucket(book, bucket, -amount, 'expiry') end
end

local function back_to_money(line, amount)
  local against = 'usage:' .. line.service
  if amount >= 0 then return post_money(book, amount, against) end
  -- The debit had made a volume cheaper: what that gave is taken again.
  local own = min(-amount, free_money(funds))
  post_money(book, -own, against)
  if -amount > own then post_debt(book, -amount - own, against) end
end

local total = 0 -- micros that came back
local function give(line, payer, kept_before, kept)
  local before, after = cost_up_to(line, payer, kept_before), cost_up_to(line, payer, kept)
  if payer.what == 'bucket' then
    back_to_bucket(line, payer.id, line.unit, before - after)
    return 0, 0
  end
  if payer.what == 'free' then return 0, 0 end
  if payer.cost == false then payer.cost = cost_up_to(line, payer, payer.units) end
  local whole = cost_up_to(line, payer, payer.units)
  -- Beyond a limit of money with `free` it cost less than its price.
  if payer.cost < whole then before, after = min(before, payer.cost), min(after, payer.cost) end
  local was, was_rest = shares(payer, payer.cost - before)
  local is, is_rest = shares(payer, payer.cost - after)
  for i, part in ipairs(payer.parts) do
    local amount = is[i] - was[i]
    if part.what == 'main' or part.what == 'debt' then back_to_money(line, amount)
    else back_to_bucket(line, part.what, 'money', amount) end
  end
  back_to_money(line, is_rest - was_rest)
  local _, billed_before = cost_up_to(line, payer, kept_before)
  local _, billed = cost_up_to(line, payer, kept)
  return before - after, billed_before - billed
end

local function count_back(line, units, cost, billed)
  for name, what, period in gmatch(line.counters, '([^,;]+),(%a),(%d+)') do
    local counter = counter_of(name)
    -- An earlier period is never opened again.
    if counter.period == period + 0 then
      local amount = what == 'u' and units or what == 'm' and cost or billed
      counter.value, counter.changed = max(0, counter.value - amount), true
    end
  end
end

local words, notes = {}, {}
for i, line in ipairs(lines) do
  if line.after_line then line.before = line.after_line.before + line.after_line.back end
  local left = line.units - line.before
  if at > line.ends then return format('refused %s late', line.key) end
  line.back = line.asked == '*' and left or line.asked + 0
  if line.back > left or line.back == 0 then return format('refused %s spent', line.key) end
  local start, cost, billed = 0, 0, 0
  local payers = payers_of(line)
  for _, payer in ipairs(payers) do
    payer.from, start = start, start + payer.units
  end
  -- The last units first, and of them what paid last.
  for j = #payers, 1, -1 do
    local payer = payers[j]
    local kept_before = max(0, min(payer.units, left - payer.from))
    local kept = max(0, min(payer.units, left - line.back - payer.from))
    if kept < kept_before then
      local more, d = give(line, payer, kept_before, kept)
      cost, billed = cost + more, billed + (d or 0)
    end
  end
  count_back(line, line.back, cost, billed)
  total = total + cost
  words[i] = format('%s=granted,%d,0,0,%s,%s', line.key, line.back, line.unit, line.terms)
  notes[i] = format('{"line":"%s","refunded":%d,"of":%d,"before":%d,"debit":"%s","cost":%d,"was":"%s"}',
    line.key, line.back, line.units, line.before, line.id, -cost, line.paid)
end
repay(book)
if not state then
  state = { status = 'event', account = account_id, subscriber = subscriber, ends = 0, armed = 0, silence = 0, number = number - 1, gaps = '-', charged = 0 }
  if number > 0 then state.gaps = format('0-%d', number - 1) end
end
state.charged = state.charged - total
note_answered(state, number)
local wrong = defect(book) or ((state.charged < 1 - 2 * MOST_MONEY) and 'charged out of range')
if wrong then return 'defect ' .. wrong end
funds.seq = funds.seq + 1
-- Money that came may pay a renewal that waits for it.
local waiting = payable(redis.call('HGET', account_key, 'unpaid'), free_money(funds))
local asked = funds.open > 0
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
local account_out, counter_notes = { 'funds', write_funds(funds) }, {}
for id, bucket in pairs(book.changed) do
  if not bucket.gone then account_out[#account_out + 1], account_out[#account_out + 2] = 'bucket:' .. id, write_bucket(bucket) end
end
for name, counter in pairs(book.counters) do
  if counter.changed then
    account_out[#account_out + 1], account_out[#account_out + 2] = 'counter:' .. name, write_counter(counter)
    counter_notes[#counter_notes + 1] = format('"%s":%d', name, counter.value)
  end
end
local answer = format('ok %d %d %s ', state.charged, funds.money - funds.debt, concat(words, ';'))
local entry = format('{"account":"%s","seq":%d,"at":%d,%s,"outcome":"ok","posts":[%s],"lines":[%s],"held":%d%s}',
  account_id, funds.seq, at, cause, concat(book.posts, ','), concat(notes, ','), funds.held,
  #counter_notes > 0 and ',"counters":{' .. concat(counter_notes, ',') .. '}' or '')
-- Write.
redis.call('XADD', journal_key, '*', 'e', entry)
redis.call('HSET', account_key, unpack(account_out))
redis.call('HSET', session_key, 'state', write_state(state), 'opened', format('%d %s', now, origin), answer_field, format('%s %s done %s', request_number, content, answer))
redis.call('PEXPIRE', session_key, keep_answer)
for _, line in ipairs(lines) do
  if line.paid ~= 'now' then redis.call('SET', line.refunded_key, digits(line.before + line.back), 'PX', keep_refunded) end
end
for _, id in ipairs(waiting) do redis.call('ZADD', due_key, now, format('renew %s %s', account_id, id)) end
if asked then redis.call('ZADD', due_key, now, 'reauth ' .. account_id) end
return format('%snew %d 0 %s', asked and 'due ' or '', -total, answer)
