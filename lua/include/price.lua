-- What units of one run cost, semantics.md section 4, and how many of them a sum of money buys: closed forms, but for a counter that other
-- sessions hold on, where the script searches over steps. A rate is as src/rating/program.ts says. Above a tier's `from` a started tick of
-- `tick` units costs num/den rounding units of `unit` micros; products stay below 2^53 because the catalog check keeps num * den there.
-- Costs of rates with a counter depend on where the counter stood: their runs carry `raw`, the sum of T so far.

local function billable(rate, n, opening)
  if n == 0 then return 0 end
  local first = opening and rate.first or 0
  if n <= first then return first end
  return first + ceil((n - first) / rate.step) * rate.step
end

local function tier_cost(rate, tier, x)
  local ticks = ceil((x - tier.from) / rate.tick) -- a counter may stand inside of one, where another rate left it
  local whole = floor(ticks / tier.den)
  local part = (ticks - whole * tier.den) * tier.num
  if rate.round == 'u' then part = ceil(part / tier.den)
  elseif rate.round == 'd' then part = floor(part / tier.den)
  else part = floor((2 * part + tier.den) / (2 * tier.den)) end
  return tier.base + (whole * tier.num + part) * rate.unit
end

-- T(x), x billable units.
local function tier_price(rate, x)
  if x == 0 then return 0 end
  local tiers = rate.tiers
  for i = 1, #tiers do
    local tier = tiers[i]
    if tier.upto == 0 or x <= tier.upto then return tier_cost(rate, tier, x) end
  end
end

-- F(n) where T of its billable units is `raw`. `opening`: this is the line's first rate, so setup, minimum and first are its to charge.
local function price_of(rate, n, raw, opening)
  if n == 0 then return 0 end
  local total = opening and rate.setup + raw or raw
  -- No minimum is not a minimum of 0: volume tiers on a counter credit the first report, too.
  if opening and rate.minimum > 0 then total = max(rate.minimum, total) end
  if rate.cap then return min(total, rate.cap) end
  return total
end

-- The largest T(p + d) - T(p) for counter <= p <= counter + others: at an end of that stretch, or where p or p + d meets a bound of a tier.
local function dearest(rate, counter, others, d)
  local most = tier_price(rate, counter + d) - tier_price(rate, counter)
  if others == 0 or d == 0 then return most end
  local function try(p)
    if p > counter and p <= counter + others then most = max(most, tier_price(rate, p + d) - tier_price(rate, p)) end
  end
  try(counter + others)
  for _, tier in ipairs(rate.tiers) do
    if tier.upto > 0 then
      try(tier.upto)
      try(tier.upto - d)
      if rate.volume then
        try(tier.upto + 1)
        try(tier.upto - d + 1)
      end
    end
  end
  return most
end

-- The most ticks of a tier whose rounded cost is at most b rounding units.
local function ticks_for(rate, tier, b)
  local num, den = tier.num, tier.den
  local whole = floor(b / num)
  local rest = b - whole * num
  if rate.round == 'u' then return whole * den + floor(rest * den / num) end
  if rate.round == 'd' then return whole * den + ceil((rest + 1) * den / num) - 1 end
  return whole * den + ceil((2 * rest + 1) * den / (2 * num)) - 1
end

-- The largest multiple of a tick x <= most with T(x) <= budget; at least 0.
local function billable_for(rate, budget, most)
  local tiers = rate.tiers
  local function within(tier, ends)
    local b = floor((budget - tier.base) / rate.unit)
    if b < 0 then return tier.from end
    if tier.num == 0 then return ends end
    return min(ends, tier.from + ticks_for(rate, tier, b) * rate.tick)
  end
  if not rate.volume then
    for i = 1, #tiers do
      local tier = tiers[i]
      local ends = tier.upto == 0 and most or min(most, tier.upto)
      local x = within(tier, ends)
      if x < ends or ends == most then return x end
    end
  end
  for i = #tiers, 1, -1 do
    local tier, below = tiers[i], i == 1 and 0 or tiers[i - 1].upto
    local ends = tier.upto == 0 and most or min(most, tier.upto)
    if ends > below then
      local x = within(tier, ends)
      if x > below then return x end
    end
  end
  return 0
end

-- What `count` more units of a run cost now, at most, and by how much its T and its billable units grow.
local function cost_of(rate, run, opening, count, counter, others)
  local n, raw = run.n, run.raw
  local from, to = billable(rate, n, opening), billable(rate, n + count, opening)
  local grown = rate.counter and dearest(rate, counter, others, to - from) or tier_price(rate, to) - raw
  return price_of(rate, n + count, raw + grown, opening) - price_of(rate, n, raw, opening), grown, to - from
end

-- The most of `count` units more of a run that cost at most `funds` more: up to the end of a step; the rest of a started one is free.
local function units_for(rate, run, opening, funds, count, counter, others)
  if count <= 0 then return 0 end
  local n, raw = run.n, run.raw
  local most = price_of(rate, n, raw, opening) + funds
  if rate.cap then
    if not rate.stop and most >= rate.cap then return count end
    if rate.stop then most = min(most, max(rate.cap, price_of(rate, n, raw, opening))) end
  end
  if n == 0 and opening and most < max(rate.minimum, rate.setup) then return 0 end
  local grow = most - raw - (opening and rate.setup or 0) -- what T may grow by
  local billed, wanted = billable(rate, n, opening), billable(rate, n + count, opening)
  local reached
  if not rate.counter then
    reached = billable_for(rate, raw + grow, wanted)
  elseif others == 0 then
    reached = billed + billable_for(rate, tier_price(rate, counter) + grow, counter + wanted - billed) - counter
  elseif dearest(rate, counter, others, wanted - billed) <= grow then
    reached = wanted
  else
    local low, high = 0, floor((wanted - billed) / rate.step)
    while low < high do
      local middle = floor((low + high + 1) / 2)
      if dearest(rate, counter, others, middle * rate.step) <= grow then low = middle else high = middle - 1 end
    end
    reached = billed + low * rate.step
  end
  local first = opening and rate.first or 0
  if reached < first then return 0 end
  return max(0, min(first + floor((reached - first) / rate.step) * rate.step - n, count))
end

-- What n units of one run take of a bucket that gives `takes` for each started `each`.
local function taken_by(payer, n) return ceil(n / payer.each) * payer.takes end

-- How many of `count` units the `free` of such a bucket pays after n, and what they take of it. What is too little for a step is taken whole,
-- for as much as it pays: `short` is what n units took less than their steps for that reason, which comes third for all of them.
local function bucket_for(payer, n, free, count, short)
  local before = taken_by(payer, n) - short
  local steps = floor((before + free) / payer.takes)
  local rest = before + free - steps * payer.takes
  local reached = steps * payer.each + (payer.each == payer.takes and rest or floor(rest * payer.each / payer.takes))
  local units = max(0, min(count, reached - n))
  if units == 0 then return 0, 0, short end
  local whole = taken_by(payer, n + units) - before
  local amount = min(free, whole)
  return units, amount, whole - amount
end
