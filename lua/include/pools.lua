-- Credit pools, RFC 8506 section 5.1.2: what lines hold of money is one credit of them all. A part of charge.lua, after holding.

local report_member, cover_rest, leave_rest
local has_pools = pooled and open

if has_pools then
  -- Flat lists: bucket, amount, bucket, amount.
  local function add_to(list, id, amount)
    for i = 1, #list, 2 do
      if list[i] == id then
        list[i + 1] = list[i + 1] + amount
        return
      end
    end
    list[#list + 1], list[#list + 2] = id, amount
  end
  local function add_all(list, more)
    for i = 1, #more, 2 do add_to(list, more[i], more[i + 1]) end
  end
  local function sum_of(list)
    local sum = 0
    for i = 2, #list, 2 do sum = sum + list[i] end
    return sum
  end

  local function price_of_rest(line)
    local program = line.old.a
    if line.rest == 0 or not program.rate then return 0 end
    local run, opening = run_of(line.session, program.rate)
    local _, cost = buy(program, run, opening, nil, line.rest)
    return cost
  end

  -- Books what a member used. It may take what the others hold; what it leaves of its own stays for them when it goes.
  function report_member(line)
    local s, parts, cash = line.session, {}, {}
    add_all(cash, s.cash)
    local own = s.money + sum_of(cash)
    local function gather(member)
      if member == s or member.pool ~= s.pool or member.granted == 0 then return end
      parts[#parts + 1] = { member = member, money = member.money, cash = member.cash }
      s.money = s.money + member.money
      add_all(cash, member.cash)
      member.money, member.cash = 0, NONE
    end
    for _, other in ipairs(lines) do if not other.booked then gather(other.session) end end
    for _, other in ipairs(others) do gather(other) end
    s.cash = cash
    local had = s.money + sum_of(cash)
    local left = report(line, true)
    local rest = left.money + sum_of(left.cash)
    local own_left = max(0, own - (had - rest))
    -- Of what it was granted the others used what money was for: what its buckets hold is not theirs.
    if own_left == 0 then line.rest = min(line.rest, sum_of(left.holds)) end
    -- Where it goes on its own part is decided anew; what another left with it stays in the pool.
    local goes_on = line.asked ~= '-' and line.asked ~= '?' and pays(line.now)
    line.freed = line.stale and own_left or goes_on and min(own_left, price_of_rest(line)) or 0
    rest = rest - line.freed
    local function keep(member, money, list)
      local amount = max(0, min(rest, money, left.money, funds.money + funds.credit - funds.held))
      member.money, left.money, funds.held, rest = member.money + amount, left.money - amount, funds.held + amount, rest - amount
      for i = 1, #list, 2 do
        for j = 1, #left.cash, 2 do
          if left.cash[j] == list[i] then
            local bucket = book.by_id[list[i]]
            amount = max(0, min(rest, list[i + 1], left.cash[j + 1], bucket.left - bucket.held))
            if amount > 0 then
              if member.cash == NONE then member.cash = {} end
              add_to(member.cash, list[i], amount)
              left.cash[j + 1], bucket.held, rest = left.cash[j + 1] - amount, bucket.held + amount, rest - amount
            end
          end
        end
      end
    end
    for _, part in ipairs(parts) do keep(part.member, part.money, part.cash) end
    if parts[1] then keep(parts[1].member, left.money, left.cash) end
    for _, list in ipairs({ left.holds, left.cash }) do
      for i = 1, #list, 2 do give_back(book, book.by_id[list[i]], 0) end -- what nobody holds of one that has ended expires
    end
  end

  -- Holds so many units, and of what was freed for them also what is less than the price of one: that is the pool's, too, and nobody else's.
  function cover_rest(line, count)
    local s = line.session
    hold(line, line.now, count)
    local more = max(0, min(line.freed - s.money - sum_of(s.cash), free_money(funds)))
    s.money, funds.held = s.money + more, funds.held + more
  end

  -- A member gets no more: the others may be using what it had left, so one of them holds it on.
  function leave_rest(line)
    local s, heir = line.session, nil
    local function consider(member) if not heir and member ~= s and member.pool == s.pool and member.granted > 0 then heir = member end end
    for _, other in ipairs(others) do consider(other) end
    for _, other in ipairs(lines) do if other.word then consider(other.session) end end
    if not heir then return end
    local free = line.free
    cover_rest(line, line.rest)
    line.free = free -- it says of what was asked
    local cash = {}
    add_all(cash, heir.cash)
    add_all(cash, s.cash)
    heir.money, heir.cash = heir.money + s.money, cash
    s.money, s.cash = 0, NONE
    unhold(s)
  end
end
