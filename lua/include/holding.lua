-- What grants hold, for a script that charges: semantics.md section 7. A part of charge.lua, after taking.

local function pays(term) return term.a.kind == 'pay' or (term.a.kind == 'free' and term.b ~= nil and term.b.kind == 'pay') end

-- What up to `count` units would hold: buckets in draw order, then what the rate's next units cost. `from`: of a tariff switch, the side that begins then.
-- `ahead`: what the line has been granted in this request beyond its runs.
local function plan(line, program, count, from, ahead)
  local s, time = line.session, from or at
  local p = { units = 0, money = 0, cost = 0, rated = 0, raw = 0, holds = NONE, cash = NONE, caps = NONE }
  count = max(0, min(count, MOST[program.unit] - s.used - (ahead and ahead.units or 0)))
  if program.kind ~= 'pay' then
    p.units = count
    return p
  end
  local room
  for _, c in ipairs(program.counters) do
    if c.action == 's' and c.limit and c.what ~= 't' then
      local value, others_hold = standing(c, from, ahead)
      local left = max(0, c.limit - value - others_hold)
      local why = format('%s:%d:%d:%d', c.full, value, others_hold, c.limit)
      if c.what == 'u' then
        if left < count then count, line.stopped = left, why end
      elseif not room or left < room then
        room, line.limiting = left, why
      end
    end
  end
  count = max(0, count)
  local free_units = count
  local rest, blocked = has_counters and dear_units(program, count, from, ahead) or count, false
  free_units = free_units - rest
  if has_buckets then rest, blocked = plan_buckets(line, program.before, p, rest, blocked, time, ahead) end
  local cost = 0
  if rest > 0 and program.rate and blocked then skipped(line, 'rate', 'blocked') end
  if rest > 0 and program.rate and not blocked then
    local run, opening = run_of(s, program.rate)
    if ahead and ahead.rated > 0 then run, opening = { id = run.id, n = run.n + ahead.rated, raw = run.raw + ahead.raw }, opening end
    local sum, parts = free_funds(program, time, true)
    line.free = sum
    local limited = room and room < sum
    if limited then sum = room end
    local units, most_cost, grown, d = buy(program, run, opening, sum, rest, true, from, ahead)
    if limited and units < rest then line.stopped = line.limiting end
    if units > 0 then
      cost = max(0, most_cost)
      local left = cost
      if parts then
        p.cash = {}
        for i = 1, #parts, 2 do
          local amount = min(left, parts[i + 1])
          if amount > 0 then
            p.cash[#p.cash + 1], p.cash[#p.cash + 2] = parts[i].id, amount
            left = left - amount
          end
        end
      end
      p.money, p.rated, p.raw, p.d, p.cost = left, units, grown, d, cost
      rest = rest - units
    elseif not ahead then
      line.needs = cost_of(program.rate, run, opening, 1, program.tiers and standing(program.tiers, from) or 0, 0)
    end
  end
  if has_buckets and rest > 0 and not blocked then rest = plan_buckets(line, program.after, p, rest, blocked, time, ahead) end
  p.units = rest > 0 and count - free_units - rest or count
  if p.units > 0 and has_counters then
    p.caps = {}
    for _, c in ipairs(program.counters) do
      local amount = c.what == 't' and (p.d or 0) or c.action ~= 's' and 0 or c.what == 'u' and p.units or cost
      if amount > 0 then p.caps[#p.caps + 1], p.caps[#p.caps + 2] = c.full, amount end
    end
  end
  return p
end

-- Holds up to `count` units under the line's term: per balance the larger of its two sides. Returns how many.
local function hold(line, term, count)
  local s = line.session
  local p, q = plan(line, term.a, count), nil
  if term.b then
    q = plan(line, term.b, p.units, term.at)
    if q.units < p.units then p = plan(line, term.a, q.units) end
  end
  line.ahead, line.ahead_new = p, q
  s.holds, s.cash, s.caps, s.money = p.holds, p.cash, p.caps, p.money
  if q then s.holds, s.cash, s.caps, s.money = larger(p.holds, q.holds), larger(p.cash, q.cash), larger(p.caps, q.caps), max(p.money, q.money) end
  if has_buckets then
    for _, list in ipairs({ s.holds, s.cash }) do
      for i = 1, #list, 2 do
        local bucket = book.by_id[list[i]]
        bucket.held = bucket.held + list[i + 1]
        book.changed[bucket.id] = bucket
      end
    end
    -- Held for the side after a switch alone, it is not used yet.
    for _, list in ipairs({ p.holds, p.cash }) do
      for i = 1, #list, 2 do start_life(book.by_id[list[i]]) end
    end
  end
  for i = 1, #s.caps, 2 do
    local counter = book.counters[s.caps[i]]
    counter.held, counter.changed = counter.held + s.caps[i + 1], true
  end
  funds.held = funds.held + s.money
  return p.units
end

-- Takes back what this request itself has held: as if it had not been, so nothing of it expires.
local function unhold(s)
  local was = take_holds(book, s)
  for _, list in ipairs({ was.holds, was.cash }) do
    for i = 1, #list, 2 do
      local bucket = book.by_id[list[i]]
      bucket.held = bucket.held - list[i + 1]
    end
  end
  funds.held = funds.held - was.money
end
