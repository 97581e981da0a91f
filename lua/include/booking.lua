--[[
Money and units of one account while a script decides: nothing here writes to Redis.

A book is { funds, currency, at, by_id, order, posts, changed }: `order` holds the buckets that matter in draw order, `posts` the
postings made so far as JSON. A balance posts [balance, unit, amount, before, after]; the account outside that its amount
comes from or goes to posts [name, unit, amount]. So the amounts of an entry sum to zero per unit.
]]

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
  post(book, 'bucket:' .. bucket.id, bucket.unit, bucket.left, amount, against)
  bucket.left = bucket.left + amount
  book.changed[bucket.id] = bucket
end

-- What a hold gives back to a bucket that has ended expires at once, semantics.md section 8.
local function give_back(book, bucket, held)
  bucket.held = bucket.held - held
  book.changed[bucket.id] = bucket
  if ended(bucket, book.at) then post_bucket(book, bucket, bucket.held - bucket.left, 'expiry') end
end

local function release(book, line)
  for i = 1, #line.holds, 2 do give_back(book, book.by_id[line.holds[i]], line.holds[i + 1]) end
  if #line.holds > 0 then line.holds = {} end
  book.funds.held = book.funds.held - line.money
  line.money, line.granted = 0, 0
end

-- Units of the rate's run so far, and whether it is the line's first rate, to which setup and first belong.
local function run_of(line, rate)
  local runs = line.runs
  for i = 1, #runs, 2 do if runs[i] == rate.id then return runs[i + 1], i == 1 end end
  return 0, #runs == 0
end

local function move_run(line, rate, n)
  local runs = line.runs
  for i = 1, #runs, 2 do
    if runs[i] == rate.id then
      runs[i + 1] = n
      return
    end
  end
  runs[#runs + 1], runs[#runs + 2] = rate.id, n
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
  if f.held < 0 or f.debt < 0 then return 'held or debt below zero' end
  if f.money > MOST_MONEY or f.money < -MOST_MONEY or f.held > MOST_MONEY or f.debt > 2 * MOST_MONEY - 1 then return 'money out of range' end
  for id, bucket in pairs(book.changed) do
    if bucket.held < 0 or bucket.left < bucket.held then return 'bucket ' .. id .. ' is overdrawn' end
  end
end
