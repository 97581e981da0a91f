--[[
The labelled lines of an account, both ways: `redis-cli HGETALL` reads like a statement.

funds          active money 4992000 held 8000 credit 0 debt 0 open 1 seq 4 rev 1   micros; open: sessions; seq: last ledger entry; rev: of the profile
order          3-1:data-5gb 5-1:data-day                                       buckets in draw order
bucket:3-1     data-5gb octets left 4990000000 held 10000000 until 1798038694000 priority 10 origin bundle-5gb sub 2 at 1795446694000 first 5000000000 catalog 3f2a
               until 0: no end. A unit `money` counts micros. sub: its subscription (0: none), at: when it was granted, first: how much, catalog:
               by which version. What else it has follows after ` with`, each word only where it says something:
               paid; blocker; from=<ms>; life=<ms> from its first use; remind=<ms>.<ms> before its end, still to be told;
               warn=<left>.<left>; roll=<min>,<max>,<ms>,<priority>; of=<amount at first>
counter:month-data.0  value 995000000 held 10000000 period 1796079600000       of the account (0) or a subscriber; period: when it began
subscribers    1 msisdn:491701000001 imsi:262011701000001;2 msisdn:491701000002 was:msisdn:491701000009;3 removed;4 moved:bob:1
               was: an identity that open sessions may still come with; one that has left keeps its number, which none gets again
subscriptions  1 payg 1795446694000 1;2 bundle-5gb 1795446694000 2             id, offer, since, subscriber (0: all)
               ` paused` behind it: its rules do not hold, as its fee is not paid
subscription:2 active from 1795446694000 until 1798038694000 anchor 1795446694000 index 0 every 2592000000ms paid 10000000 due 1798038694000 try 0
               of one with a fee: active | grace (its renewal failed) | ending; the period that is paid for (until 0: for good), where periods are counted
               from and the number of this one; how they are counted; what was paid for it; when something is to be done (0: nothing); renewals
               that failed. After ` with`: to=<offer> from the next renewal on; ends=<ms> of the grace, failed=<ms> first; needs=<micros>; told=<ms> ahead; expire
subscribed     2                                                               highest number of a subscription that ended
unpaid         2=10000000                                                      subscriptions in grace, and the free money that each needs
extras         {"attributes":{"segment":"vip"},"overrides":[...]}              rest of the profile, see src/balance/types.ts
life           active since 1796079600000 end 1798671600000 ...                 where the catalog has a life cycle for it: include/life.lua
currency       EUR
recharges      7 day 1796079600000 portal=2,10000000 bonus welcome=1           how many ever; of that business day by channel: count, micros; by rule: bonuses
transfers      2 day 1796079600000 out=1,5000000 bonus                        as `recharges`: what it sent to others
]]

local function read_funds(line)
  local status, money, held, credit, debt, open, seq, rev =
    match(line, '^(%a+) money (%-?%d+) held (%d+) credit (%d+) debt (%d+) open (%d+) seq (%d+) rev (%d+)$')
  return {
    status = status, money = money + 0, held = held + 0, credit = credit + 0,
    debt = debt + 0, open = open + 0, seq = seq + 0, rev = rev,
  }
end

local function write_funds(f)
  return format('%s money %d held %d credit %d debt %d open %d seq %d rev %s', f.status, f.money, f.held, f.credit, f.debt, f.open, f.seq, f.rev)
end

local function read_bucket(id, line)
  local name, unit, left, held, ends, rest = match(line, '^(%S+) (%a+) left (%d+) held (%d+) until (%d+)(.*)$')
  local bucket = { id = id, name = name, unit = unit, left = left + 0, held = held + 0, ends = ends + 0, rest = rest }
  local words = find(rest, ' with ', 1, true)
  if words then
    local with = sub(rest, words)
    bucket.blocker = match(with, 'blocker') ~= nil
    bucket.from = tonumber(match(with, 'from=(%d+)'))
    bucket.life = tonumber(match(with, 'life=(%d+)'))
    bucket.warn = match(with, 'warn=(%S+)')
  end
  return bucket
end

local function write_bucket(b)
  return format('%s %s left %d held %d until %d%s', b.name, b.unit, b.left, b.held, b.ends, b.rest)
end

local function read_counter(name, line)
  if not line then return { name = name, value = 0, held = 0, period = 0 } end
  local value, held, period = match(line, '^value (%d+) held (%d+) period (%d+)$')
  return { name = name, value = value + 0, held = held + 0, period = period + 0, was = period + 0 } -- was: the period that stands in the line
end

local function write_counter(c) return format('value %d held %d period %d', c.value, c.held, c.period) end

-- Free money of `main`, semantics.md section 1: what may be held or taken now, credit included.
local function free_money(f) return max(0, f.money + f.credit - f.held - f.debt) end

-- The rest of a bucket's line without one of its words.
local function without(rest, word)
  rest = rest:gsub(' ' .. word .. '=%S+', '')
  return match(rest, '^(.*) with$') or rest
end

-- When the end of a bucket is told ahead next; nil: no more.
local function next_told(b, at)
  local leads = match(b.rest, ' remind=(%S+)')
  if not leads or b.ends == 0 then return nil end
  for lead in gmatch(leads, '%d+') do if b.ends - lead > at then return b.ends - lead end end
end

-- Subscriptions whose renewal waits for no more than this free money: their numbers. `unpaid`: the account's field.
local function payable(unpaid, free)
  local list = NONE
  for id, needs in gmatch(unpaid or '', '(%d+)=(%d+)') do
    if needs + 0 <= free then
      if list == NONE then list = {} end
      list[#list + 1] = id
    end
  end
  return list
end

-- A bucket without an end has ends = 0.
local function ended(b, at) return b.ends > 0 and b.ends <= at end
