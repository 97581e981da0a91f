--[[
Money and units of one account while a script decides: nothing here writes to Redis.

A book is { funds, currency, at, by_id, order, counters, posts, changed }: `order` holds the buckets that matter in draw order, `counters` those that
matter by name, `posts` the postings made so far as JSON. A balance posts [balance, unit, amount, before, after]; the account outside that its amount
comes from or goes to posts [name, unit, amount]. So the amounts of an entry sum to zero per unit.
]]

local function new_book(funds, currency, at)
  return { funds = funds, currency = currency, at = at, by_id = {}, order = {}, counters = {}, posts = {}, changed = {} }
end

local function post(book, balance, unit, before, amount, against)
  if amount == 0 then return end
  local posts = book.posts
  posts[#posts + 1] = format('["%s","%s",%d,%d,%d]', balance, unit, amount, before, before + amount)
  if against then posts[#posts + 1] = format('["%s","%s",%d]', against, unit, -amount) end
end

local function post_money(book, amount, against)
  post(book, 'main', book.currency, book.funds.money, amount, against)
  book.funds.money = book.funds.money + amount
end

-- Debt is a balance below zero: more debt is a negative amount.
local function post_debt(book, amount, against)
  post(book, 'debt', book.currency, -book.funds.debt, -amount, against)
  book.funds.debt = book.funds.debt + amount
end

local function post_bucket(book, bucket, amount, against)
  post(book, 'bucket:' .. bucket.id, bucket.unit == 'money' and book.currency or bucket.unit, bucket.left, amount, against)
  bucket.was = bucket.was or bucket.left
  bucket.left = bucket.left + amount
  book.changed[bucket.id] = bucket
end

-- What a hold gives back to a bucket that has ended expires at once, semantics.md section 8.
local function give_back(book, bucket, held)
  bucket.held = bucket.held - held
  book.changed[bucket.id] = bucket
  if ended(bucket, book.at) then post_bucket(book, bucket, bucket.held - bucket.left, 'expiry') end
end

-- Takes the line's holds off the balances: what it held is the caller's to give back.
local function take_holds(book, line)
  local held = { holds = line.holds, cash = line.cash, money = line.money }
  for i = 1, #line.caps, 2 do
    local counter = book.counters[line.caps[i]]
    counter.held, counter.changed = counter.held - line.caps[i + 1], true
  end
  line.holds, line.cash, line.caps, line.money = NONE, NONE, NONE, 0
  return held
end

local function release(book, line)
  local held = take_holds(book, line)
  for _, list in ipairs({ held.holds, held.cash }) do
    for i = 1, #list, 2 do give_back(book, book.by_id[list[i]], list[i + 1]) end
  end
  book.funds.held = book.funds.held - held.money
  line.granted = 0
end

-- Names of what a line holds of the account, so that it is read.
local function note_held(line, buckets, counters)
  for i = 1, #line.holds, 2 do buckets[line.holds[i]] = true end
  for i = 1, #line.cash, 2 do buckets[line.cash[i]] = true end
  for i = 1, #line.caps, 2 do counters[line.caps[i]] = true end
end

-- Free funds pay debt first: own money only, never the credit limit.
local function repay(book)
  local amount = min(book.funds.debt, max(0, book.funds.money - book.funds.held))
  if amount == 0 then return end
  post_money(book, -amount)
  post_debt(book, -amount)
end

-- Nothing after the first write may fail, so a defect of ours must show before it.
local function defect(book)
  local f = book.funds
  if f.held < 0 or f.debt < 0 or f.open < 0 then return 'held, debt or open below zero' end
  if f.money > MOST_MONEY or f.money < -MOST_MONEY or f.held > MOST_MONEY or f.debt > 2 * MOST_MONEY - 1 then return 'money out of range' end
  for id, bucket in pairs(book.changed) do
    if bucket.held < 0 or bucket.left < bucket.held then return 'bucket ' .. id .. ' is overdrawn' end
  end
  for name, counter in pairs(book.counters) do
    if counter.held < 0 or counter.value < 0 or counter.value > 2 * MOST_MONEY - 1 then return 'counter ' .. name .. ' out of range' end
  end
end

-- Events of this change, as JSON: levels that `value` went over upwards, or `left` downwards. Semantics.md section 2, step 7.
local function event(book, kind, name, level)
  local events = book.events or {}
  book.events = events
  events[#events + 1] = format('["%s","%s",%d]', kind, name, level)
end

local function warn_buckets(book)
  for id, bucket in pairs(book.changed) do
    if bucket.warn and bucket.was then
      for level in gmatch(bucket.warn, '%d+') do
        level = level + 0
        if bucket.was > level and bucket.left <= level then event(book, 'bucket', id, level) end
      end
    end
  end
end

-- `levels`: texts of micros joined by dots, or '-'.
local function warn_money(book, before, levels)
  if levels == '-' then return end
  for level in gmatch(levels, '%d+') do
    level = level + 0
    if before > level and book.funds.money <= level then event(book, 'money', 'main', level) end
  end
end

local function events_json(book) return book.events and ',"events":[' .. concat(book.events, ',') .. ']' or '' end
