--[[
The labelled lines of an account, both ways: `redis-cli HGETALL` reads like a statement.

funds          active money 4992000 held 8000 credit 0 debt 0 seq 4 rev 1      micros; seq: last ledger entry; rev: of subscribers and subscriptions
order          3-1:data-5gb 5-1:data-day                                       buckets in draw order
bucket:3-1     data-5gb octets left 4990000000 held 10000000 until 1798038694000 priority 10 origin bundle-5gb
subscribers    1 msisdn:491701000001 imsi:262011701000001;2 msisdn:491701000002
subscriptions  1 payg 1795446694000 1;2 bundle-5gb 1795446694000 2             id, offer, since, subscriber (0: all)
currency       EUR
]]

local function read_funds(line)
  local status, money, held, credit, debt, seq, rev =
    match(line, '^(%a+) money (%-?%d+) held (%d+) credit (%d+) debt (%d+) seq (%d+) rev (%d+)$')
  return {
    status = status, money = money + 0, held = held + 0, credit = credit + 0,
    debt = debt + 0, seq = seq + 0, rev = rev,
  }
end

local function write_funds(f)
  return format('%s money %d held %d credit %d debt %d seq %d rev %s', f.status, f.money, f.held, f.credit, f.debt, f.seq, f.rev)
end

local function read_bucket(id, line)
  local name, unit, left, held, ends, rest = match(line, '^(%S+) (%a+) left (%d+) held (%d+) until (%d+)(.*)$')
  return { id = id, name = name, unit = unit, left = left + 0, held = held + 0, ends = ends + 0, rest = rest }
end

local function write_bucket(b)
  return format('%s %s left %d held %d until %d%s', b.name, b.unit, b.left, b.held, b.ends, b.rest)
end

-- Free money, semantics.md section 1: what may be held or taken now, credit included.
local function free_money(f) return max(0, f.money + f.credit - f.held - f.debt) end

-- A bucket without an end has ends = 0.
local function ended(b, at) return b.ends > 0 and b.ends <= at end
