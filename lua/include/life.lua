--[[
The life cycle of an account: its field `life`, both ways, and what a recharge, a first use or the passing of time makes of it. Nothing here writes to
Redis. Times are ms of business time, 0: none.

life           active since 1796079600000 end 1798671600000 told 604800000 hand 0 rule prepaid terms <terms>
               phase: created, active, grace, suspended, terminated, recycled. end: when it ends. told: the shortest `warn` that was told of this end.
               hand 1: suspended by hand, whatever the phase is; the status in `funds` is then `suspended`.
terms          of the rule, as src/rating/life-terms.ts writes them: `start=any first=2592000000 ...`; those in force when the line was written
]]

local LIFE_NEXT = { created = 'terminated', active = 'grace', grace = 'suspended', suspended = 'terminated', terminated = 'recycled' }
local LIFE_OVER = { terminated = true, recycled = true }

local function read_life(line)
  if not line then return nil end
  local phase, since, ends, told, hand, rule, terms =
    match(line, '^(%a+) since (%d+) end (%d+) told (%d+) hand ([01]) rule (%S+) terms ?(.*)$')
  return { phase = phase, since = since + 0, ends = ends + 0, told = told + 0, hand = hand == '1', rule = rule, terms = terms }
end

local function write_life(l)
  return format('%s since %d end %d told %d hand %d rule %s terms %s', l.phase, l.since, l.ends, l.told, l.hand and 1 or 0, l.rule, l.terms)
end

-- A word of the terms; nil: they do not have it.
local function life_term(l, name) return match(' ' .. l.terms .. ' ', ' ' .. name .. '=(%S+) ') end
local function life_number(l, name) return tonumber(life_term(l, name)) end

-- How long a phase lasts: ms, 0 not at all, nil for ever.
local function phase_length(l, phase)
  if phase == 'created' then return life_number(l, 'unused') end
  if phase == 'grace' then return life_number(l, 'grace') or 0 end
  if phase == 'suspended' then return life_number(l, 'suspended') end
  if phase == 'terminated' then return life_number(l, 'quarantine') end
  return nil
end

-- What the status in `funds` is.
local function life_status(l) return l.hand and not LIFE_OVER[l.phase] and 'suspended' or l.phase end

-- Whether an account that is not active is served all the same: in grace, or for the first time.
local function life_serves(l)
  if l.hand then return false end
  if l.phase == 'grace' then return life_term(l, 'service') == 'all' end
  local start = l.phase == 'created' and life_term(l, 'start')
  return start == 'use' or start == 'any'
end

-- Warnings whose time is over when a date is set are not told of it: what is short from the beginning warns nobody.
local function set_end(l, ends, at)
  l.ends, l.told = ends, 0
  if ends == 0 then return end
  for warn in gmatch(life_term(l, 'warn') or '', '%d+') do
    warn = warn + 0
    if ends - warn <= at and (l.told == 0 or warn < l.told) then l.told = warn end
  end
end

local function enter(l, phase, at)
  local length = phase_length(l, phase)
  l.phase, l.since = phase, at
  set_end(l, length and at + length or 0, at)
end

-- The longest warning that is still to be told; nil: none is.
local function next_warning(l)
  if l.phase ~= 'active' or l.ends == 0 then return nil end
  local longest
  for warn in gmatch(life_term(l, 'warn') or '', '%d+') do
    warn = warn + 0
    if (l.told == 0 or warn < l.told) and (not longest or warn > longest) then longest = warn end
  end
  return longest
end

-- When to look at it next; nil: never.
local function life_due(l)
  if l.phase == 'recycled' or l.ends == 0 then return nil end
  local warn = next_warning(l)
  return warn and l.ends - warn or l.ends
end

-- Validity that an amount brings: ms, 0 none; nil: the rule has no validity at all.
local function validity_of(l, amount)
  local steps = life_term(l, 'validity')
  if not steps then return nil end
  local length = 0
  for from, ms in gmatch(steps, '(%d+):(%d+)') do if amount >= from + 0 then length = ms + 0 end end
  return length
end

-- Valid until a later time, by so much from now or from the end that it has, with the cap of the rule; never for shorter.
local function extend(l, length, at)
  local was = l.phase == 'active' and l.ends or 0
  local from = life_term(l, 'extend') == 'now' and at or max(at, was)
  local ends = from + length
  local cap = life_number(l, 'max')
  if cap then ends = min(ends, at + cap) end
  if ends > was then set_end(l, ends, at) end
end

local function activate(l, at)
  if l.phase ~= 'active' then l.phase, l.since, l.ends, l.told = 'active', at, 0, 0 end
end

-- A recharge: true when it changed something. What brings no validity where validity is sold changes nothing.
local function life_recharged(l, amount, at)
  if LIFE_OVER[l.phase] then return false end
  local start = life_term(l, 'start')
  if l.phase == 'created' and start ~= 'recharge' and start ~= 'any' then return false end
  local length = validity_of(l, amount)
  if length == 0 then return false end
  if length == nil then
    if l.phase == 'active' then return false end
    activate(l, at)
    return true
  end
  local before = write_life(l)
  activate(l, at)
  extend(l, length, at)
  return write_life(l) ~= before
end

-- The first use: true when it activated.
local function life_used(l, at)
  local start = l.phase == 'created' and life_term(l, 'start')
  if start ~= 'use' and start ~= 'any' then return false end
  local length = life_number(l, 'first')
  activate(l, at)
  if length then extend(l, length, at) end
  return true
end

-- For the ledger: what it is from now on.
local function life_json(l)
  return format('"life":{"phase":"%s","since":%d,"end":%d,"rule":"%s"}', l.phase, l.since, l.ends, l.rule)
end

-- The entry of a change of status, which is one of its own.
local function status_entry(account_id, seq, at, cause, from, to, l, posts, held)
  return format('{"account":"%s","seq":%d,"at":%d,%s,"from":"%s","to":"%s","rule":"%s",%s,"posts":[%s],"lines":[],"held":%d}',
    account_id, seq, at, cause, from, to, l.rule, life_json(l), posts, held)
end
