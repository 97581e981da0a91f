--[[
adjust: money or units that somebody gives or takes by hand, or debt that is written off; once for its key. What is given repays debt first;
what is taken comes from free funds only; semantics.md section 10.

KEYS[1] account, KEYS[2] once, KEYS[3] journal, KEYS[4] due, KEYS[5] census
ARGV[1] account_id
ARGV[2] at                 ms, business time
ARGV[3] cause              JSON members for the ledger entry
ARGV[4] keep               ms that the key is remembered
ARGV[5] target             main | debt | id:<bucket> | name:<bucket> (of that name, in draw order) | new (ARGV[10])
ARGV[6] unit               currency of money, or the unit of the bucket
ARGV[7] amount             signed, not 0; of debt: what is written off, 0 all of it
ARGV[8] against            outside account of the posting
ARGV[9] levels             of money: texts of micros joined by dots, or '-', whose crossing leaves an event
ARGV[10] buckets           count (0, 1), each as include/granting.lua says

Replies one text: no_account, terminated, currency_differs <currency>, too_large, no_bucket, unit_differs <unit>, insufficient <free>, owed <debt>,
taken <target> <amount> (the key was used for that); adjusted | repeated <target> <amount> <money> <debt> <seq> <buckets or -: id=name:unit:left,...>;
with ` due` behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include crediting
-- @include draw-order
-- @include census
-- @include granting

local account_key, once_key, journal_key, due_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local account_id, at, cause, keep, target, unit, amount = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local against, levels, buckets = ARGV[8], ARGV[9], tonumber(ARGV[10])
local content = format('%s %d', target, amount)
-- Read.
local first_answer = redis.call('GET', once_key)
if first_answer then
  local of = match(first_answer, '^%S+ %S+')
  return (of == content and 'repeated ' or 'taken ') .. (of == content and first_answer or of)
end
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'order')
if not values[1] then return 'no_account' end
local funds, currency = read_funds(values[1]), values[2]
local all = {}
for id in gmatch(values[3] or '', '(%S+):%S+') do all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
-- Decide.
if funds.status == 'terminated' and target ~= 'debt' then return 'terminated' end
local book, taken = new_book(funds, currency, at), new_taken('')
funds.seq = funds.seq + 1
local touched = {}

local function change_main()
  if unit ~= currency then return 'currency_differs ' .. currency end
  if amount > 0 then
    if amount > MOST_MONEY or funds.money + amount > MOST_MONEY - funds.credit then return 'too_large' end
    credit_money(book, amount, against)
  else
    local free, before = free_money(funds), funds.money
    if -amount > free then return format('insufficient %d', free) end
    post_money(book, amount, against)
    warn_money(book, before, levels)
  end
end

local function write_off()
  if unit ~= currency then return 'currency_differs ' .. currency end
  local wanted = amount == 0 and funds.debt or amount
  if wanted < 1 or wanted > funds.debt then return format('owed %d', funds.debt) end
  post_debt(book, -wanted, against)
end

local function change_bucket()
  local named, rest, free = {}, amount, 0
  for _, bucket in ipairs(all) do
    local is = target == 'id:' .. bucket.id or target == 'name:' .. bucket.name
    if is and not ended(bucket, at) then named[#named + 1] = bucket end
  end
  local first = named[1]
  if not first then return 'no_bucket' end
  local is_unit = first.unit == 'money' and currency or first.unit
  if unit ~= is_unit then return 'unit_differs ' .. is_unit end
  if amount > 0 then
    if first.left + amount > MOST_MONEY then return 'too_large' end
    post_bucket(book, first, amount, against)
    touched = { first }
    return nil
  end
  for _, bucket in ipairs(named) do
    local has = bucket.from and bucket.from > at and 0 or bucket.left - bucket.held
    local part = min(has, -rest)
    free = free + has
    if part > 0 then
      post_bucket(book, bucket, -part, against)
      rest, touched[#touched + 1] = rest + part, bucket
    end
  end
  if rest < 0 then return format('insufficient %d', free) end
  warn_buckets(book)
end

local function make_bucket()
  for i = 1, buckets do take_bucket(book, taken, ARGV, 6 * i + 5, 'adjustment', nil, against) end
  touched = taken.made
end

local no
if target == 'main' then no = change_main()
elseif target == 'debt' then no = write_off()
elseif target == 'new' then no = make_bucket()
else no = change_bucket() end
if no then return no end
local out, words = { 'funds', write_funds(funds) }, {}
for i, bucket in ipairs(touched) do
  out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket)
  words[i] = format('%s=%s:%s:%d', bucket.id, bucket.name, bucket.unit, bucket.left)
end
local counts = {}
if #taken.made > 0 then
  for _, bucket in ipairs(taken.made) do all[#all + 1] = bucket end
  out[#out + 1], out[#out + 2] = 'order', draw_order(all)
  counts = counted(taken.census, redis.call('HMGET', census_key, unpack(taken.census.fields)))
end
-- Money that came may pay a renewal that waits for it.
local waiting = payable(redis.call('HGET', account_key, 'unpaid'), free_money(funds))
local dues = bucket_dues(taken.dues, taken.made, account_id, at)
local asked = funds.open > 0 and amount >= 0
local answer = format('%s %d %d %d %s', content, funds.money, funds.debt, funds.seq, #words > 0 and concat(words, ',') or '-')
assert(tonumber(keep), 'keep')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
redis.call('HLEN', census_key)
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s,"posts":[%s],"lines":[],"held":%d%s}',
  account_id, funds.seq, at, cause, concat(book.posts, ','), funds.held, events_json(book)))
redis.call('HSET', account_key, unpack(out))
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if #dues > 0 then redis.call('ZADD', due_key, unpack(dues)) end
redis.call('SET', once_key, answer, 'PX', keep)
for _, waits in ipairs(waiting) do redis.call('ZADD', due_key, at, format('renew %s %s', account_id, waits)) end
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return 'adjusted ' .. answer .. (asked and ' due' or '')
