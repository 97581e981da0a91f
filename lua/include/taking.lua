-- What usage takes, for a script that charges: counters, runs, buckets, money, each side of a tariff switch, and at last debt. Semantics.md sections 4 to 6
-- and 8. A part of charge.lua, whose `lines`, `others`, `book`, `funds`, `state` and times it works on: it stands where those are read.

local overrun, first_used = 0, false

-- A function that is made costs as much as one that is called: those of buckets, counters and switches are made where there are any.
local has_buckets, has_counters, has_switches = #ids > 0, #counter_names > 0, false
for _, line in ipairs(lines) do has_switches = has_switches or line.now.b ~= nil or line.old.b ~= nil end
local roll, enter, standing, count_up, dear_units, count_used
local cheaper_is_new, larger
local usable, start_life, skipped, drawn, draw, draw_free, draw_held, plan_buckets

-- A counter at the time of what is booked: a new period starts at 0, an earlier one is never opened again. What was used before a tariff switch
-- counts in the period that it ended, while nobody has left that: `booked_until` is the switch while that is booked.
local booked_until
if has_counters then
  function roll(c)
    local counter, period = book.counters[c.full], c.period
    if not period or period.start <= counter.period then return booked_until and period and period.start >= booked_until and counter.past or counter end
    if booked_until and period.start >= booked_until then return counter end
    counter.past = { value = counter.value, held = counter.held, period = counter.period } -- for what this request still books in it
    if counter.value ~= 0 then counter.changed = true end
    counter.value, counter.period = 0, period.start
    return counter
  end

  -- Begins a side of a switch, or what has none.
  function enter(part)
    booked_until = part.ends
    for _, c in ipairs(part[1].counters) do roll(c) end
  end

  -- What stands on it: of now, or of the period that a tariff switch opens.
  function standing(c, from, ahead)
    if from and c.period and c.period.ends <= from and book.counters[c.full].period < c.period.ends then
      if not ahead then return 0, 0 end
      return c.what == 'u' and ahead.units or ahead.cost, 0 -- what the line itself was granted of it
    end
    local counter = roll(c)
    return counter.value, counter.held
  end

  function count_up(c, amount)
    if amount == 0 then return end
    local counter = roll(c)
    local before = counter.value
    counter.value, counter.changed = max(0, before + amount), true
    if c.limit and c.steps ~= '-' then
      for percent in gmatch(c.steps, '%d+') do
        local level = floor(c.limit / 100) * percent + ceil((c.limit % 100) * percent / 100)
        if before < level and counter.value >= level then event(book, 'counter', c.full, percent + 0) end
      end
    end
  end

  -- Counts used units, and says how many of them cost something: beyond a limit with `free` nothing pays.
  function dear_units(program, units, from, ahead)
    local dear = units
    for _, c in ipairs(program.counters) do
      if c.what == 'u' and c.action == 'f' and c.limit then dear = min(dear, max(0, c.limit - standing(c, from) - (ahead and ahead.units or 0))) end
    end
    return dear
  end

  function count_used(program, units)
    for _, c in ipairs(program.counters) do if c.what == 'u' then count_up(c, units) end end
  end
end

-- The run of a rate, and whether it is the one that opens its line.
local function run_of(s, rate)
  local runs = s.runs
  for i, run in ipairs(runs) do
    if run.id == rate.id then
      run.kept = rate.counter ~= nil
      if not run.raw then run.raw = tier_price(rate, billable(rate, run.n, i == 1)) end
      return run, i == 1
    end
  end
  return { id = rate.id, n = 0, raw = 0, kept = rate.counter ~= nil }, #runs == 0
end

local function move_run(s, rate, run, count, grown)
  if run.n == 0 and count > 0 then
    local known = false
    for _, other in ipairs(s.runs) do known = known or other == run end
    if not known then s.runs[#s.runs + 1] = run end
  end
  run.n = run.n + count
  run.raw = run.raw + grown
end

-- Money that the program may take: of each money bucket its free part, of all together no more than what is free in all. Semantics.md section 1.
local function free_funds(program, time, granting)
  local total, parts, most = funds.money + funds.credit - funds.held - funds.debt, nil, nil
  if has_buckets and next(program.money) then
    parts = {}
    local sum = 0
    for _, bucket in ipairs(book.order) do
      if program.money[bucket.name] and usable(bucket, time) then
        local free = max(0, bucket.left - bucket.held)
        if free > 0 and not most then parts[#parts + 1], parts[#parts + 2] = bucket, free end
        total, sum = total + free, sum + free
        if granting and bucket.blocker and not most then most = sum end
      end
    end
  end
  return max(0, most and min(most, total) or total), parts
end

-- How many of `count` units the rate gives for `sum` (nil: all of them), and what they cost at most, with how much the run's T and billable units grow.
-- What money takes beyond a limit with `free` costs nothing.
local function buy(program, run, opening, sum, count, holding, from, ahead)
  local rate, dear, value, other = program.rate, nil, 0, 0
  for _, c in ipairs(program.counters) do
    if c.what == 'm' and c.action == 'f' and c.limit then dear = min(dear or c.limit, max(0, c.limit - standing(c, from) - (ahead and ahead.cost or 0))) end
  end
  if program.tiers then
    value, other = standing(program.tiers, from)
    -- What the line was just granted comes before what is asked about, and nobody else holds it.
    if ahead then value, other = value + (ahead.d or 0), max(0, other - (ahead.d or 0)) end
    if not holding then other = 0 end -- what is used moves the counter from where it stands
  end
  local units, cost, grown, d = count, cost_of(rate, run, opening, count, value, other)
  if sum and (cost > sum or rate.stop) and not (dear and sum >= dear) then
    units = units_for(rate, run, opening, sum, count, value, other)
    if units == 0 then return 0, 0, 0, 0 end
    if units < count then cost, grown, d = cost_of(rate, run, opening, units, value, other) end
  end
  if dear then cost = min(cost, dear) end
  return units, cost, grown, d
end

local function paid(line, payer, units, amount, more)
  local list = line.paid or {}
  line.paid = list
  list[#list + 1] = format('%s:%s:%d%s', payer, units and digits(units) or '', amount, more or '')
end

-- Debits what `count` more units of the rate cost: from the pool of what the line held, or from what is free and at last as debt.
local function spend(line, program, count, pool)
  local s, rate, against = line.session, program.rate, 'usage:' .. program.service
  local run, opening = run_of(s, rate)
  local _, cost, grown, d = buy(program, run, opening, nil, count)
  line.cost = (line.cost or 0) + cost
  paid(line, 'rate', count, cost, format(':%s:%d:%d:%s:%d', rate.id, run.n, opening and 1 or 0,
    program.tiers and digits(standing(program.tiers)) or '-', run.raw))
  move_run(s, rate, run, count, grown)
  s.charged, state.charged = s.charged + cost, state.charged + cost
  for _, c in ipairs(program.counters) do
    if c.what == 'm' then count_up(c, cost) elseif c.what == 't' then count_up(c, d) end
  end
  if cost < 0 then -- the whole volume became cheaper
    post_money(book, -cost, against)
    return
  end
  local rest = cost
  if pool then
    if #pool.cash > 0 then
      -- In the draw order of now: a life that began with the hold has given its bucket another place.
      local held_at = {}
      for i = 1, #pool.cash, 2 do held_at[pool.cash[i]] = i + 1 end
      for _, bucket in ipairs(book.order) do
        local i = held_at[bucket.id]
        local amount = i and program.money[bucket.name] and min(rest, pool.cash[i]) or 0
        if amount > 0 then
          start_life(bucket)
          post_bucket(book, bucket, -amount, against)
          paid(line, bucket.id, nil, amount)
          pool.cash[i], rest = pool.cash[i] - amount, rest - amount
        end
      end
    end
    local amount = min(rest, pool.money)
    post_money(book, -amount, against)
    if amount > 0 then paid(line, 'main', nil, amount) end
    pool.money, rest = pool.money - amount, rest - amount
  end
  if rest == 0 then return end
  local total, parts = free_funds(program, at)
  local free = min(rest, total)
  rest = rest - free
  if parts then
    for i = 1, #parts, 2 do
      local amount = min(free, parts[i + 1])
      if amount > 0 then
        start_life(parts[i])
        post_bucket(book, parts[i], -amount, against)
        paid(line, parts[i].id, nil, amount)
        free = free - amount
      end
    end
  end
  post_money(book, -free, against)
  if free > 0 then paid(line, 'main', nil, free) end
  if rest > 0 then
    post_debt(book, rest, against)
    paid(line, 'debt', nil, rest)
    overrun = overrun + rest
  end
end

if has_buckets then
  function usable(bucket, time)
    if ended(bucket, time) then return false, 'ended' end
    if bucket.from and bucket.from > time then return false, 'early' end
    return true
  end

  function start_life(bucket)
    if bucket.life and bucket.ends == 0 then
      bucket.ends, bucket.begun, first_used = now + bucket.life, true, true
      book.changed[bucket.id] = bucket
    end
  end

  function skipped(line, id, why)
    line.skipped = line.skipped or {}
    line.skipped[id] = why
  end

  function drawn(s, id)
    for _, draw in ipairs(s.draws) do if draw.id == id then return draw end end
    return { id = id, n = 0, short = 0, new = true }
  end

  -- Takes units from a bucket, of `available` in it at most. Returns how many are paid.
  function draw(line, program, bucket, payer, available, count)
    local s, units, amount = line.session, nil, nil
    if payer.whole then
      units = min(count, available)
      amount = units
    else
      local before, short = drawn(s, bucket.id), nil
      units, amount, short = bucket_for(payer, before.n, available, count, before.short)
      if before.new and units > 0 then s.draws[#s.draws + 1], before.new = before, nil end
      before.n, before.short = before.n + units, short
    end
    if units == 0 then return 0, 0 end
    start_life(bucket)
    post_bucket(book, bucket, -amount, 'usage:' .. program.service)
    paid(line, bucket.id, units, amount, not payer.whole and format(':%d:%d', payer.each, payer.takes)) -- a refund needs to know the steps
    return units, amount
  end

  function draw_free(line, program, payers, rest)
    if rest == 0 or next(payers) == nil then return rest end
    for _, bucket in ipairs(book.order) do
      if rest == 0 then break end
      local payer = payers[bucket.name]
      if payer and usable(bucket, at) then rest = rest - draw(line, program, bucket, payer, max(0, bucket.left - bucket.held), rest) end
    end
    return rest
  end

  -- Takes what the line held of the buckets.
  function draw_held(line, program, payers, rest, pool)
    local s = line.session
    if rest == 0 or #pool.holds + #s.draws == 0 or next(payers) == nil then return rest end
    local held_at = {}
    for i = 1, #pool.holds, 2 do held_at[pool.holds[i]] = i + 1 end
    for _, bucket in ipairs(book.order) do
      if rest == 0 then break end
      local payer, i = payers[bucket.name], held_at[bucket.id]
      -- A grant may hold nothing of a bucket: the rest of a step that is paid costs nothing.
      if payer and (i or not payer.whole and s.granted > 0 and usable(bucket, at)) then
        local units, amount = draw(line, program, bucket, payer, i and pool.holds[i] or 0, rest)
        if i then pool.holds[i] = pool.holds[i] - amount end
        rest = rest - units
      end
    end
    return rest
  end

  -- What a plan holds of buckets; returns how many units are left, and whether a blocker ends the order.
  function plan_buckets(line, payers, p, rest, blocked, time, ahead)
    if next(payers) == nil then return rest, blocked end
    local s = line.session
    for _, bucket in ipairs(book.order) do
      local payer = payers[bucket.name]
      if payer then
        local fit, why = usable(bucket, time)
        if not fit then skipped(line, bucket.id, why)
        elseif blocked then skipped(line, bucket.id, 'blocked')
        elseif rest > 0 then
          local free, units, amount, short = max(0, bucket.left - bucket.held), nil, nil, nil
          if payer.whole then
            units = min(rest, free)
            amount = units
          else
            local before = drawn(s, bucket.id)
            local granted = ahead and ahead[bucket.id]
            units, amount, short = bucket_for(payer, before.n + (granted or 0), free, rest, granted and ahead.short[bucket.id] or before.short)
          end
          if units > 0 then
            -- The rest of a step that is paid is held for nothing.
            if amount > 0 then
              if p.holds == NONE then p.holds = {} end
              p.holds[#p.holds + 1], p.holds[#p.holds + 2] = bucket.id, amount
            end
            p[bucket.id] = units
            if short then
              p.short = p.short or {}
              p.short[bucket.id] = short
            end
            rest = rest - units
          else
            skipped(line, bucket.id, bucket.left > 0 and 'held' or 'empty')
          end
          blocked = bucket.blocker
        else
          blocked = blocked or bucket.blocker
        end
      end
    end
    return rest, blocked
  end
end

if has_switches then
  -- Which side of a switch costs less for so many units, by the price that each rate asks.
  function cheaper_is_new(line, term, count)
    local function cost(program)
      if program.kind ~= 'pay' or not program.rate then return 0 end
      local run, opening = run_of(line.session, program.rate)
      local _, asked = buy(program, run, opening, nil, count)
      return asked
    end
    local stood = {}
    for _, program in ipairs({ term.a, term.b }) do
      for _, c in ipairs(program.counters) do
        local counter = book.counters[c.full]
        stood[counter] = stood[counter] or { counter.value, counter.period, counter.changed }
      end
    end
    booked_until = term.at
    local old = cost(term.a)
    booked_until = nil
    local new = cost(term.b)
    for counter, was in pairs(stood) do counter.value, counter.period, counter.changed = was[1], was[2], was[3] end
    return new < old
  end

  -- The larger of two flat lists, entry by entry.
  function larger(a, b)
    local list, place = {}, {}
    for i = 1, #a, 2 do
      list[i], list[i + 1], place[a[i]] = a[i], a[i + 1], i + 1
    end
    for i = 1, #b, 2 do
      local known = place[b[i]]
      if known then list[known] = max(list[known], b[i + 1])
      else list[#list + 1], list[#list + 2] = b[i], b[i + 1] end
    end
    return list
  end
end

-- Books what a line used: from its holds, then free funds, then as debt, each side of a tariff switch by its own program. All its holds end.
-- Semantics.md sections 6 and 8. `whole`: all that it holds may pay, also beyond its own grant. Returns what is left of it, which nobody holds any
-- more; of `whole`, it is the caller's to expire.
local function report(line, whole)
  local s, term = line.session, line.old
  s.used = s.used + line.reported
  local before, after = line.reported, 0
  if term.b then
    before, after = line.before, line.after
    local unsplit, open_side = line.unsplit, line.indeterminate
    if term.a.unit == 'seconds' then
      local new = at > term.at and min(unsplit, floor((at - term.at) / 1000)) or 0
      before, after = before + unsplit - new, after + new
    elseif at < term.at then before = before + unsplit
    else open_side = open_side + unsplit end
    if open_side > 0 then
      if cheaper_is_new(line, term, open_side) then after = after + open_side else before = before + open_side end
    end
    line.sides = format(',"switch":%d,"before":%d,"after":%d', term.at, before, after)
  end
  local was = take_holds(book, s)
  local pool = { holds = NONE, cash = NONE, money = was.money }
  if has_buckets then
    pool.holds, pool.cash = {}, {}
    for i, word in ipairs(was.holds) do pool.holds[i] = word end
    for i, word in ipairs(was.cash) do pool.cash[i] = word end
  end
  funds.held = funds.held - was.money
  local parts = { { term.a, before, ends = term.b and term.at } }
  if after > 0 then parts[2] = { term.b, after } end
  if before == 0 and after > 0 then parts = { parts[2] } end

  local granted = s.granted
  for _, part in ipairs(parts) do
    local program, rest = part[1], part[2]
    if program.kind == 'pay' and rest > 0 then
      if has_counters then
        enter(part)
        local dear = dear_units(program, rest)
        count_used(program, rest)
        if dear < rest then paid(line, 'free', rest - dear, 0) end
        rest = dear
      end
      -- The holds are for what was granted: what is used beyond it is paid like any other usage.
      local beyond = whole and 0 or max(0, rest - granted)
      rest, granted = rest - beyond, granted - (rest - beyond)
      if has_buckets then rest = draw_held(line, program, program.before, rest, pool) end
      if rest > 0 and program.rate then
        local sum = pool.money
        for i = 1, #pool.cash, 2 do
          if program.money[book.by_id[pool.cash[i]].name] then sum = sum + pool.cash[i + 1] end
        end
        -- A grant may hold no money: the rest of a step that is paid costs nothing.
        local run, opening = run_of(s, program.rate)
        local units = buy(program, run, opening, sum, rest)
        if units > 0 then
          spend(line, program, units, pool)
          rest = rest - units
        end
      end
      if has_buckets then rest = draw_held(line, program, program.after, rest, pool) end
      part[2] = rest + beyond
    elseif program.kind ~= 'pay' then part[2] = program.kind == 'free' and 0 or rest end
  end
  for _, list in ipairs({ was.holds, was.cash }) do
    for i = 1, #list, 2 do
      local bucket = book.by_id[list[i]]
      if whole then bucket.held, book.changed[list[i]] = bucket.held - list[i + 1], bucket
      else give_back(book, bucket, list[i + 1]) end
    end
  end
  local unpaid = 0
  for _, part in ipairs(parts) do
    local program, rest = part[1], part[2]
    if rest > 0 then
      if has_counters then enter(part) end
      if has_buckets then rest = draw_free(line, program, program.before, rest) end
      if has_buckets and rest > 0 and next(program.after) then
        if program.rate then
          local run, opening = run_of(s, program.rate)
          local units = buy(program, run, opening, (free_funds(program, at)), rest)
          if units > 0 then
            spend(line, program, units)
            rest = rest - units
          end
        end
        rest = draw_free(line, program, program.after, rest)
      end
      if rest > 0 and program.rate then
        spend(line, program, rest)
        rest = 0
      end
      unpaid = unpaid + rest
    end
  end
  booked_until = nil
  line.unpaid = unpaid -- nobody to pay for it: shown in the ledger, nothing owed
  return pool
end
