--[[
credit: money into an account, once for its key, with what comes on top of it: buckets, and the bonus of the first rule that applies. It
repays debt first, the rest goes to `main`; semantics.md section 10.

KEYS[1] account, KEYS[2] once, KEYS[3] journal, KEYS[4] due, KEYS[5] census
ARGV[1] account_id
ARGV[2] amount             micros; 0 where buckets alone come
ARGV[3] currency
ARGV[4] at                 ms, business time
ARGV[5] source             for the posting: source:<channel>
ARGV[6] cause              JSON members for the ledger entry
ARGV[7] keep               ms that the key is remembered
ARGV[8] channel            of a recharge, which is counted; '' it is none
ARGV[9] limits             `<day> <count> <sum>`: ms that the business day began, the most of the channel in it; 0: no limit
ARGV[10] refused           '' or a word: refused for what the caller knows, unless the key has its answer
ARGV[11] final             1: a refusal is remembered as answers are
ARGV[12] extras            count of buckets, each as include/granting.lua says; count of bonus rules, each: name, first (1: for the account's first
                           recharge only), most (times an account gets it, 0: no limit), micros into `main`, count of buckets, the buckets.
                           The first rule that applies is the one

Replies one text: no_account, terminated, currency_differs <currency>, too_large, limit_count <most>, limit_sum <most> <today>, what `refused`
says; credited | repeated <money> <debt> <seq> <at> <rule of the bonus or -> <its micros> <buckets or -: id=name:unit:amount,...>;
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
-- @include life

local account_key, once_key, journal_key, due_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local account_id, amount, currency, at, source, cause, keep = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local channel, limits, refused, final, extras = ARGV[8], ARGV[9], ARGV[10], ARGV[11], tonumber(ARGV[12])
local day, most_count, most_sum = match(limits, '^(%d+) (%d+) (%d+)$')
day, most_count, most_sum = day + 0, most_count + 0, most_sum + 0
-- Read.
local first_answer = redis.call('GET', once_key)
if first_answer then return match(first_answer, '^refused (.*)$') or 'repeated ' .. first_answer end
local values = redis.call('HMGET', account_key, 'funds', 'currency', 'order', 'recharges', 'life')
local funds = values[1] and read_funds(values[1])
local recharges = read_recharges(values[4] or nil)
-- Decide.
local function refusal()
  if not funds then return 'no_account' end
  if funds.status == 'terminated' or funds.status == 'recycled' then return 'terminated' end
  if values[2] ~= currency then return 'currency_differs ' .. values[2] end
  if amount > MOST_MONEY or funds.money + amount > MOST_MONEY - funds.credit then return 'too_large' end
  if refused ~= '' then return refused end
  if channel == '' then return nil end
  turn_to_day(recharges, day)
  local today = tally_of(recharges.channels, channel)
  if most_count > 0 and today.count + 1 > most_count then return format('limit_count %d', most_count) end
  if most_sum > 0 and today.sum + amount > most_sum then return format('limit_sum %d %d', most_sum, today.sum) end
end
local no = refusal()
if no then
  if final == '1' then redis.call('SET', once_key, 'refused ' .. no, 'PX', keep) end
  return no
end
local book, taken = new_book(funds, currency, at), new_taken('')
funds.seq = funds.seq + 1
credit_money(book, amount, source)
local i = 13
for _ = 1, extras do
  take_bucket(book, taken, ARGV, i, channel)
  i = i + 6
end
-- The first rule that applies gives its bonus; of the others only the places are passed.
local rule, bonus = '-', 0
for _ = 1, tonumber(ARGV[i]) do
  local name, first, most, money, buckets = ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  i = i + 5
  local given = tally_of(recharges.bonuses, name)
  local applies = rule == '-' and (first ~= '1' or recharges.count == 0) and (most == 0 or given.count < most)
  if applies and money <= MOST_MONEY and funds.money + money <= MOST_MONEY - funds.credit then
    rule, bonus = name, money
    given.count = given.count + 1
    credit_money(book, money, 'offer')
    for k = 1, buckets do take_bucket(book, taken, ARGV, i + 6 * k - 5, name) end
  end
  i = i + 6 * buckets
end
-- What it does to the life cycle: validity, and a status that changes by rule, which is an entry of its own.
local life, status_before, recharge_seq = channel ~= '' and read_life(values[5]) or nil, funds.status, funds.seq
local life_changed = life and life_recharged(life, amount, at)
if life_changed then
  funds.status = life_status(life)
  if funds.status ~= status_before then funds.seq = funds.seq + 1 end
end
local out = { 'funds', write_funds(funds) }
if life_changed then out[#out + 1], out[#out + 2] = 'life', write_life(life) end
if channel ~= '' then
  recharges.count = recharges.count + 1
  local today, given = tally_of(recharges.channels, channel), {}
  today.count, today.sum = today.count + 1, today.sum + amount
  for _, each in ipairs(recharges.bonuses) do if each.count > 0 then given[#given + 1] = each end end
  recharges.bonuses = given
  out[#out + 1], out[#out + 2] = 'recharges', write_recharges(recharges)
end
local made, counts, words = taken.made, {}, {}
if #made > 0 then
  local all = {}
  for id in gmatch(values[3] or '', '(%S+):%S+') do all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
  for k, bucket in ipairs(made) do
    all[#all + 1] = bucket
    out[#out + 1], out[#out + 2] = 'bucket:' .. bucket.id, write_bucket(bucket)
    words[k] = format('%s=%s:%s:%d', bucket.id, bucket.name, bucket.unit, bucket.left)
  end
  out[#out + 1], out[#out + 2] = 'order', draw_order(all)
  counts = counted(taken.census, redis.call('HMGET', census_key, unpack(taken.census.fields)))
end
-- Money that came may pay a renewal that waits for it.
local waiting = payable(redis.call('HGET', account_key, 'unpaid'), free_money(funds))
local dues = bucket_dues(taken.dues, taken.made, account_id, at)
local asked = funds.open > 0
local answer = format('%d %d %d %d %s %d %s', funds.money, funds.debt, recharge_seq, at, rule, bonus, #words > 0 and concat(words, ',') or '-')
assert(tonumber(keep), 'keep')
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
redis.call('HLEN', census_key)
-- Write.
redis.call('XADD', journal_key, '*', 'e', format('{"account":"%s","seq":%d,"at":%d,%s%s%s,"posts":[%s],"lines":[],"held":%d}',
  account_id, recharge_seq, at, cause, rule ~= '-' and format(',"bonus":"%s"', rule) or '', life_changed and ',' .. life_json(life) or '', concat(book.posts, ','), funds.held))
if funds.seq > recharge_seq then
  redis.call('XADD', journal_key, '*', 'e',
    status_entry(account_id, funds.seq, at, '"kind":"status","actor":"life"', status_before, funds.status, life, '', funds.held))
end
if life_changed then
  local when = life_due(life)
  if when then redis.call('ZADD', due_key, when, 'life ' .. account_id) else redis.call('ZREM', due_key, 'life ' .. account_id) end
end
redis.call('HSET', account_key, unpack(out))
if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
if #dues > 0 then redis.call('ZADD', due_key, unpack(dues)) end
redis.call('SET', once_key, answer, 'PX', keep)
for _, id in ipairs(waiting) do redis.call('ZADD', due_key, at, format('renew %s %s', account_id, id)) end
if asked then redis.call('ZADD', due_key, at, 'reauth ' .. account_id) end
return 'credited ' .. answer .. (asked and ' due' or '')
