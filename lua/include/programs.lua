-- Charging programs as src/rating/program.ts writes them.

-- Buckets by name: how they are taken.
local WHOLE = { each = 1, takes = 1, whole = true }
local function read_payers(text)
  if text == '-' then return NONE end
  local payers = {}
  for word in gmatch(text, '[^,]+') do
    local name, each, takes = match(word, '^([^~]+)~(%d+)~(%d+)$')
    if name then payers[name] = { each = each + 0, takes = takes + 0 } else payers[word] = WHOLE end
  end
  return payers
end

local function read_rate(text, tiers)
  if text == '-' then return nil end
  local id, first, step, tick, setup, minimum, cap, action, unit, round, counter, mode =
    match(text, '^(%x+),(%d+),(%d+),(%d+),(%d+),(%d+),([%d-]+),(%a),(%d+),(%a),([^,]+),(%a)$')
  local rate = {
    id = id, first = first + 0, step = step + 0, tick = tick + 0, setup = setup + 0, minimum = minimum + 0, cap = tonumber(cap), stop = action == 's',
    unit = unit + 0, round = round, counter = counter ~= '-' and counter or nil, volume = mode == 'v', tiers = {},
  }
  for from, upto, base, num, den in gmatch(tiers, '(%d+),(%d+),(%d+),(%d+),(%d+)') do
    rate.tiers[#rate.tiers + 1] = { from = from + 0, upto = upto + 0, base = base + 0, num = num + 0, den = den + 0 }
  end
  return rate
end

local function read_counters(text)
  if text == '-' then return NONE end
  local list = {}
  for name, what, action, per, limit, steps in gmatch(text, '([^,;]+),(%a),(%a),(%a),([%d-]+),([%d.-]+)') do
    list[#list + 1] = { name = name, what = what, action = action, per = per, limit = tonumber(limit), steps = steps }
  end
  return list
end

local function read_program(text)
  local kind, id, unit, service, rule, validity, terms, quota, before, rate, tiers, after, money, counters, code =
    match(text, '^(%a+) (%S+) (%a+) (%S+) (%S+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%d+)$')
  return {
    text = text, kind = kind, id = id, unit = unit, service = service, rule = rule, validity = validity + 0, terms = terms, quota = quota,
    before = read_payers(before), rate = read_rate(rate, tiers), after = read_payers(after), money = read_payers(money), counters = read_counters(counters),
    code = code,
  }
end
