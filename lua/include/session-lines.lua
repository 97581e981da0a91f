--[[
The labelled lines of a session, both ways.

state        open 4711 1 until 1795450294000 armed 1795450294000 silence 7200000 number 3 gaps - charged 8000
             open | closed | lost (closed, made again from its mark) | event (nothing comes after it); account, subscriber; armed: its entry in `due`; gaps: numbers below `number` that never came: 1-1,4-6
opened       1795446694000 pgw.example.net example.net relay.example.net 32251@3gpp.org   when; Origin-Host, Origin-Realm and peer of the last request; service
line:10      by 3 granted 10000000 until 1795450294000 program 1a2b3c4d used 1050000 charged 8000 money 8000 holds 3-1=5000 cash 7-2=300 caps day-spend.1=8300
             runs 9f8e7d6c=750000 draws 5-1=300 pace 20000000 since 1795446694000
             by: the number that last decided its grant. Holds: micros of main, units by bucket, micros by money bucket (cash), and what counts against
             counters (caps). runs: units by rate, the opening one first, `=n:raw` where T depends on a counter; draws: units by bucket that is taken in
             steps, `=n:short` where it had less left than the last of them; pace: thousandths of units a second, measured between
             grants, the last of them at `since`; both 0 where the size of grants is fixed. What else it has follows after ` with`, each word only where
             it says something: told (the gateway was told that funds end, or refused for it: a credit may change that); pool=<id> of its grant
program:<id> the charging program of a grant, until the session ends; with a tariff switch: program, its time, the program from then on, a row each
answer:<n mod 5>  3 a1b2c3d4 done ok 8000 10=granted,10000000,0,0,octets,3600,20,terminate
]]

local function read_state(line)
  local status, account, subscriber, ends, armed, silence, number, gaps, charged =
    match(line, '^(%a+) (%S+) (%S+) until (%d+) armed (%d+) silence (%d+) number (%d+) gaps (%S+) charged (%-?%d+)$')
  return {
    status = status, account = account, subscriber = subscriber, ends = ends + 0, armed = armed + 0,
    silence = silence + 0, number = number + 0, gaps = gaps, charged = charged + 0,
  }
end

local function write_state(s)
  return format('%s %s %s until %d armed %d silence %d number %d gaps %s charged %d',
    s.status, s.account, s.subscriber, s.ends, s.armed, s.silence, s.number, s.gaps, s.charged)
end

local function new_line(key)
  return {
    key = key, by = -1, granted = 0, ends = 0, program = '-', used = 0, charged = 0, money = 0, holds = NONE, cash = NONE, caps = NONE, runs = {}, draws = {},
    pace = 0, since = 0, told = false, pool = nil,
  }
end

-- Flat lists: bucket, units, bucket, units.
local function read_pairs(text)
  if text == '-' then return NONE end
  local list = {}
  for id, n in gmatch(text, '([^=,]+)=(%d+)') do list[#list + 1], list[#list + 2] = id, n + 0 end
  return list
end

local function write_pairs(list)
  if #list == 0 then return '-' end
  if #list == 2 then return format('%s=%d', list[1], list[2]) end
  local words = {}
  for i = 1, #list, 2 do words[#words + 1] = format('%s=%d', list[i], list[i + 1]) end
  return concat(words, ',')
end

-- Runs are { id, n, raw, kept }: `raw` is kept where it cannot be worked out of n.
local function read_runs(text)
  local list = {}
  if text ~= '-' then
    for id, n, raw in gmatch(text, '([^=,]+)=(%d+):?(%-?%d*)') do
      list[#list + 1] = { id = id, n = n + 0, raw = raw ~= '' and raw + 0 or nil, kept = raw ~= '' }
    end
  end
  return list
end

local function write_runs(list)
  if #list == 0 then return '-' end
  local words = {}
  for i, run in ipairs(list) do words[i] = run.kept and format('%s=%d:%d', run.id, run.n, run.raw) or format('%s=%d', run.id, run.n) end
  return concat(words, ',')
end

-- Draws are { id, n, short }.
local function read_draws(text)
  local list = {}
  if text ~= '-' then
    for id, n, short in gmatch(text, '([^=,]+)=(%d+):?(%d*)') do
      list[#list + 1] = { id = id, n = n + 0, short = short ~= '' and short + 0 or 0 }
    end
  end
  return list
end

local function write_draws(list)
  if #list == 0 then return '-' end
  local words = {}
  for i, draw in ipairs(list) do words[i] = draw.short > 0 and format('%s=%d:%d', draw.id, draw.n, draw.short) or format('%s=%d', draw.id, draw.n) end
  return concat(words, ',')
end

local function read_line(key, text)
  if not text then return new_line(key) end
  local by, granted, ends, program, used, charged, money, holds, cash, caps, runs, draws, pace, since, with = match(text,
    '^by (%-?%d+) granted (%d+) until (%d+) program (%S+) used (%d+) charged (%-?%d+) money (%d+) holds (%S+) cash (%S+) caps (%S+) runs (%S+) draws (%S+) pace (%d+) since (%d+)(.*)$')
  return {
    key = key, by = by + 0, granted = granted + 0, ends = ends + 0, program = program, used = used + 0,
    charged = charged + 0, money = money + 0, holds = read_pairs(holds), cash = read_pairs(cash), caps = read_pairs(caps),
    runs = read_runs(runs), draws = read_draws(draws), pace = pace + 0, since = since + 0, told = with ~= '' and find(with, ' told', 1, true) ~= nil, pool = with ~= '' and match(with, ' pool=(%d+)') or nil,
  }
end

local function write_line(l)
  return format('by %d granted %d until %d program %s used %d charged %d money %d holds %s cash %s caps %s runs %s draws %s pace %d since %d%s%s%s',
    l.by, l.granted, l.ends, l.program, l.used, l.charged, l.money, write_pairs(l.holds), write_pairs(l.cash), write_pairs(l.caps),
    write_runs(l.runs), write_draws(l.draws), l.pace, l.since, (l.told or l.pool) and ' with' or '', l.told and ' told' or '', l.pool and ' pool=' .. l.pool or '')
end

local function holds_something(l) return l.money > 0 or #l.holds > 0 or #l.cash > 0 or #l.caps > 0 end
