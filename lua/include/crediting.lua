-- Money in, semantics.md section 10, and what an account keeps of its recharges for the rules of channels and bonuses.

-- It repays debt first, the rest goes to `main`.
local function credit_money(book, amount, source)
  local repaid = min(amount, book.funds.debt)
  if repaid > 0 then post_debt(book, -repaid, source) end
  post_money(book, amount - repaid, source)
end

-- Field `recharges` of an account, see account-lines.lua: how many ever, by channel those of the day, by rule its bonuses.
local function read_recharges(line)
  local count, day, channels, bonuses = match(line or '0 day 0 bonus', '^(%d+) day (%d+)(.*) bonus(.*)$')
  local list = { count = count + 0, day = day + 0, channels = {}, bonuses = {} }
  for name, number, sum in gmatch(channels, ' (%S+)=(%d+),(%d+)') do
    list.channels[#list.channels + 1] = { name = name, count = number + 0, sum = sum + 0 }
  end
  for name, number in gmatch(bonuses, ' (%S+)=(%d+)') do list.bonuses[#list.bonuses + 1] = { name = name, count = number + 0 } end
  return list
end

local function write_recharges(list)
  local words = { format('%d day %d', list.count, list.day) }
  for _, each in ipairs(list.channels) do words[#words + 1] = format(' %s=%d,%d', each.name, each.count, each.sum) end
  words[#words + 1] = ' bonus'
  for _, each in ipairs(list.bonuses) do words[#words + 1] = format(' %s=%d', each.name, each.count) end
  return concat(words)
end

-- The one of that name, made when it is missing.
local function tally_of(tallies, name)
  for _, each in ipairs(tallies) do if each.name == name then return each end end
  local tally = { name = name, count = 0, sum = 0 }
  tallies[#tallies + 1] = tally
  return tally
end

-- A day never comes again: a clock that is a little behind counts on in the later one.
local function turn_to_day(list, day)
  if day <= list.day then return end
  list.day, list.channels = day, {}
end
