--[[
The labelled lines of an account, both ways: `redis-cli HGETALL` reads like a statement.

funds          active money 4992000 held 8000 credit 0 debt 0 open 1 seq 4 rev 1   micros; open: sessions; seq: last ledger entry; rev: of the profile
order          3-1:data-5gb 5-1:data-day                                       buckets in draw order
bucket:3-1     data-5gb octets left 4990000000 held 10000000 until 1798038694000 priority 10 origin bundle-5gb
               until 0: no end. A unit `money` counts micros. What else it has follows after ` with`, each word only where it says something:
               paid; blocker; from=<ms>; life=<ms> from its first use; warn=<left>.<left>; roll=<min>,<max>,<ms>,<priority>; of=<amount at first>
counter:month-data.0  value 995000000 held 10000000 period 1796079600000       of the account (0) or a subscriber; period: when it began
subscribers    1 msisdn:491701000001 imsi:262011701000001;2 msisdn:491701000002
subscriptions  1 payg 1795446694000 1;2 bundle-5gb 1795446694000 2             id, offer, since, subscriber (0: all)
extras         {"attributes":{"segment":"vip"},"overrides":[...]}              rest of the profile, see src/balance/types.ts
currency       EUR
recharges      7 day 1796079600000 portal=2,10000000 bonus welcome=1           how many ever; of that business day by channel: count, micros; by rule: bonuses
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
  return { name = name, value = value + 0, held = held + 0, period = period + 0 }
end

local function write_counter(c) return format('value %d held %d period %d', c.value, c.held, c.period) end

-- Free money of `main`, semantics.md section 1: what may be held or taken now, credit included.
local function free_money(f) return max(0, f.money + f.credit - f.held - f.debt) end

-- A bucket without an end has ends = 0.
local function ended(b, at) return b.ends > 0 and b.ends <= at end
