-- What n units of one run cost, semantics.md section 4. A rate is { num, den, step, first, tick }: a started tick of
-- `tick` units costs num/den micros; products stay below 2^53 because the catalog check keeps num * den there.

local function ticks_of(rate, n, opening)
  if n == 0 then return 0 end
  local first = opening and rate.first or 0
  if n <= first then return first / rate.tick end
  return (first + ceil((n - first) / rate.step) * rate.step) / rate.tick
end

-- F(n). `opening`: this is the line's first rate, so `first` is its to charge.
local function price(rate, n, opening)
  local ticks = ticks_of(rate, n, opening)
  local whole = floor(ticks / rate.den)
  return whole * rate.num + ceil((ticks - whole * rate.den) * rate.num / rate.den)
end

-- The most units more of a run at n that cost at most `funds` more: up to the end of a step; the rest of a started one is free.
local function units_for(rate, n, opening, funds)
  if rate.num == 0 then return MOST.octets - n end
  local most = price(rate, n, opening) + funds
  local whole = floor(most / rate.num)
  local ticks = whole * rate.den + floor((most - whole * rate.num) * rate.den / rate.num)
  local units, first = ticks * rate.tick, opening and rate.first or 0
  if units < first then return 0 end
  units = first + floor((units - first) / rate.step) * rate.step
  return max(0, min(units, MOST.octets) - n)
end
