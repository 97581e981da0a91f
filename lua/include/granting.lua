--[[
What an account gets with the offers it buys: a subscription each, and their buckets.

`taken` gathers it: { subscriptions (text), last (id of the last subscription), made (buckets), census }. An offer is, in a list of
arguments: its name, count of buckets, and six a bucket: name, unit, amount, until (0: never), priority, and what else it has, as words
of its line (see account-lines.lua), or ''.
]]

local known_words = { '^paid$', '^blocker$', '^from=%d+$', '^life=%d+$', '^warn=%d[%d.]*$', '^roll=%d+,%d+,%d+,%d+$' }

local function check_words(words)
  for word in gmatch(words, '%S+') do
    local known = false
    for _, pattern in ipairs(known_words) do known = known or match(word, pattern) ~= nil end
    assert(known, 'word of a bucket')
  end
end

local function new_taken(subscriptions)
  local last = 0
  for id in gmatch(subscriptions, '(%d+) [^;]+') do last = max(last, tonumber(id)) end
  return { subscriptions = subscriptions, last = last, made = {}, census = new_census() }
end

local function take_bucket(book, taken, args, i, offer)
  local name, unit, amount, ends, priority, words = args[i], args[i + 1], tonumber(args[i + 2]), tonumber(args[i + 3]), tonumber(args[i + 4]), args[i + 5]
  check_words(words)
  if match(words, 'warn=') then words = format('%s of=%d', words, amount) end
  local bucket = { id = format('%d-%d', book.funds.seq, #taken.made + 1), name = name, unit = unit, left = 0, held = 0, ends = ends }
  bucket.rest = format(' priority %d origin %s%s', priority, offer, words == '' and '' or ' with ' .. words)
  post_bucket(book, bucket, amount, 'offer')
  count(taken.census, 'bucket:' .. name, 1)
  taken.made[#taken.made + 1] = bucket
end

-- The offer that begins at args[i]; gives where the next one begins. book.funds.seq is the entry's that all this happens in.
local function take_offer(book, taken, args, i, subscriber)
  local offer, buckets = args[i], tonumber(args[i + 1])
  taken.last = taken.last + 1
  local subscription = format('%d %s %d %s', taken.last, offer, book.at, subscriber)
  taken.subscriptions = taken.subscriptions == '' and subscription or taken.subscriptions .. ';' .. subscription
  count(taken.census, 'offer:' .. offer, 1)
  i = i + 2
  for _ = 1, buckets do
    take_bucket(book, taken, args, i, offer)
    i = i + 6
  end
  return i
end
