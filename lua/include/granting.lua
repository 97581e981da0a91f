--[[
What an account gets with the offers it buys: a subscription each, and their buckets.

`taken` gathers it: { subscriptions (text), last (id of the last subscription), made (buckets), census, lines (fields of subscriptions and what
stands in them), dues (times and members of `due`) }. An offer is, in a list of arguments: its name, version of the catalog, line of the
subscription (see account-lines.lua; '' none), when it is renewed, when its end is told ahead (both ms; '' never), count of buckets, and six
a bucket: name, unit, amount, until (0: never), priority, and what else it has, as words of its line (see account-lines.lua), or ''.
]]

local known_words = { '^paid$', '^blocker$', '^from=%d+$', '^life=%d+$', '^remind=%d[%d.]*$', '^warn=%d[%d.]*$', '^roll=%d+,%d+,%d+,%d+$' }

local function check_words(words)
  for word in gmatch(words, '%S+') do
    local known = false
    for _, pattern in ipairs(known_words) do known = known or match(word, pattern) ~= nil end
    assert(known, 'word of a bucket')
  end
end

-- `ever`: the field `subscribed` of the account, false where it has none: numbers of subscriptions that have ended are not given again.
local function new_taken(subscriptions, ever)
  local last = tonumber(ever or '0')
  for id in gmatch(subscriptions, '(%d+) [^;]+') do last = max(last, tonumber(id)) end
  return { subscriptions = subscriptions, last = last, made = {}, census = new_census(), lines = {}, dues = {} }
end

-- `grant`: { sub = number of the subscription, catalog = version }; nil: it is of none. `against`: outside account of the posting; nil: offer.
local function take_bucket(book, taken, args, i, origin, grant, against)
  local name, unit, amount, ends, priority, words = args[i], args[i + 1], tonumber(args[i + 2]), tonumber(args[i + 3]), tonumber(args[i + 4]), args[i + 5]
  check_words(words)
  if match(words, 'warn=') then words = format('%s of=%d', words, amount) end
  local bucket = { id = format('%d-%d', book.funds.seq, #taken.made + 1), name = name, unit = unit, left = 0, held = 0, ends = ends }
  bucket.rest = format(' priority %d origin %s sub %s at %d first %d catalog %s%s', priority, origin, grant and grant.sub or '0', book.at, amount,
    grant and grant.catalog or '-', words == '' and '' or ' with ' .. words)
  post_bucket(book, bucket, amount, against or 'offer')
  count(taken.census, 'bucket:' .. name, 1)
  taken.made[#taken.made + 1] = bucket
end

-- The buckets of an offer; gives where the next one begins. args[i] is their count.
local function take_buckets(book, taken, args, i, offer, grant)
  local buckets = tonumber(args[i])
  i = i + 1
  for _ = 1, buckets do
    take_bucket(book, taken, args, i, offer, grant)
    i = i + 6
  end
  return i
end

-- The offer that begins at args[i]; gives where the next one begins. book.funds.seq is the entry's that all this happens in.
local function take_offer(book, taken, args, i, subscriber, account_id)
  local offer, catalog, line, renewed, told = args[i], args[i + 1], args[i + 2], args[i + 3], args[i + 4]
  assert(match(offer, '^%S+$') and match(catalog, '^%S+$') and match(renewed, '^%d*$') and match(told, '^%d*$'), 'offer')
  taken.last = taken.last + 1
  local subscription = format('%d %s %d %s', taken.last, offer, book.at, subscriber)
  taken.subscriptions = taken.subscriptions == '' and subscription or taken.subscriptions .. ';' .. subscription
  count(taken.census, 'offer:' .. offer, 1)
  if line ~= '' then
    assert(match(line, '^active from %d+ until %d+ '), 'line of a subscription')
    taken.lines[#taken.lines + 1], taken.lines[#taken.lines + 2] = format('subscription:%d', taken.last), line
  end
  local dues = taken.dues
  if renewed ~= '' then dues[#dues + 1], dues[#dues + 2] = renewed, format('renew %s %d', account_id, taken.last) end
  if told ~= '' then dues[#dues + 1], dues[#dues + 2] = told, format('remind %s subscription:%d', account_id, taken.last) end
  return take_buckets(book, taken, args, i + 5, offer, { sub = digits(taken.last), catalog = catalog })
end

-- Times and members of `due` for these buckets: their ends, and before them what is told ahead.
local function bucket_dues(dues, buckets, account_id, at)
  for _, bucket in ipairs(buckets) do
    if bucket.ends > 0 then
      dues[#dues + 1], dues[#dues + 2] = digits(bucket.ends), format('bucket %s %s', account_id, bucket.id)
      local told = next_told(bucket, at)
      if told then dues[#dues + 1], dues[#dues + 2] = digits(told), format('remind %s bucket:%s', account_id, bucket.id) end
    end
  end
  return dues
end
