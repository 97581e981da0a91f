--[[
life: what time, a first use or an operator makes of an account's life cycle: one step in one call, decided again from what is stored, so that late, early,
twice or by several daemons it happens once. What is due again at once stands in `due` at its own time: steps come in the order of their times.

KEYS[1] account, KEYS[2] due, KEYS[3] journal, KEYS[4] census
ARGV[1] account_id
ARGV[2] step               due        what the time brings: a warning, or the next phase
                           used       it was used for the first time
                           adopt      its terms are those given from now on; an account without a life cycle gets one
                           until      its validity ends at `value` (ms, 0 never): by hand, also of one in grace or suspended by its rule
                           terminate  now, by hand; `value`: `keep` or `forfeit` says what becomes of money and buckets
                           recycled   its identities are out of the index: it is done with
ARGV[3] now                ms, business time
ARGV[4] offset             business time less real time, ms, as in expire-bucket.lua
ARGV[5] rule, ARGV[6] terms  of the catalog in force, as include/life.lua says; '' and '': it has none for this account
ARGV[7] value              see step; else ''
ARGV[8] cause              JSON members for the ledger entry
ARGV[9] member             of `due`, of the steps due and used; '' of the others

Replies one text: no_account, skew, early, gone (no life cycle, or nothing to do), unchanged, over (it is terminated), held or debt (it cannot be terminated now),
recycle (its identities are to leave the index, then step recycled), later (as held and debt, looked at again), waits (its rule is gone: looked at again); done <status> <end>; with ` due` behind it when open sessions are to be asked again.
]]
-- @include words
-- @include account-lines
-- @include session-lines
-- @include booking
-- @include census
-- @include life

local LOOK_AGAIN = 3600000 -- ms: whether what kept an account from its end has gone, or its rule has come back
local account_key, due_key, journal_key, census_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local account_id, step, now, offset, rule, terms, value, cause, member =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
assert(member and cause, 'arguments')
local life_member = 'life ' .. account_id
-- Read.
local clock = redis.call('TIME')
local skew = now - offset - (clock[1] * 1000 + floor(clock[2] / 1000))
if skew > 30000 or skew < -30000 then return 'skew' end
local values = redis.call('HMGET', account_key, 'funds', 'life', 'currency', 'order', 'subscribers')
if not values[1] then return 'no_account' end
local funds, life, currency = read_funds(values[1]), read_life(values[2] or nil), values[3]
local status_before = funds.status
local use_time = step == 'used' and tonumber(redis.call('ZSCORE', due_key, member))
-- Decide.
local book = new_book(funds, currency, now)
local at, kind, gone_buckets = now, 'status', {}
local census, empties = new_census(), false
local events = ''

local function new_life(phase)
  return { phase = phase, since = now, ends = 0, told = 0, hand = false, rule = rule, terms = terms }
end

-- Money and buckets at the end: nil when it may end now, else what is in the way.
local function wind_up(forfeit)
  if funds.held > 0 or funds.open > 0 then return 'held' end
  local all = {}
  for id in gmatch(values[4] or '', '(%S+):%S+') do all[#all + 1] = read_bucket(id, redis.call('HGET', account_key, 'bucket:' .. id)) end
  for _, bucket in ipairs(all) do if bucket.held > 0 then return 'held' end end
  if funds.debt > 0 or funds.money < 0 then
    if life_term(life, 'debt') ~= 'writeoff' then return 'debt' end
    if funds.debt > 0 then post_debt(book, -funds.debt, 'writeoff') end
    if funds.money < 0 then post_money(book, -funds.money, 'writeoff') end
  end
  if not forfeit then return nil end
  if funds.money > 0 then post_money(book, -funds.money, 'expiry') end
  for _, bucket in ipairs(all) do
    if bucket.left > 0 then post_bucket(book, bucket, -bucket.left, 'expiry') end
    gone_buckets[#gone_buckets + 1] = 'bucket:' .. bucket.id
    count(census, 'bucket:' .. bucket.name, -1)
  end
  empties = true
end

local function decide()
  if step == 'adopt' then
    if rule == '' then return 'gone' end
    if not life then
      life = new_life(LIFE_NEXT[status_before] and status_before or 'active')
      life.hand = status_before == 'suspended'
      if life.hand then life.phase = 'active' end
      if life.phase == 'terminated' or life.phase == 'created' then enter(life, life.phase, now) end
      kind = 'life'
      return
    end
    if LIFE_OVER[life.phase] or (life.rule == rule and life.terms == terms) then return 'unchanged' end
    life.rule, life.terms, kind = rule, terms, 'silent'
    return
  end
  if step == 'terminate' then
    life = life or new_life(status_before == 'terminated' and 'terminated' or 'active')
    if life.rule == '' then life.rule = '-' end
    if LIFE_OVER[life.phase] then return 'over' end
    if rule ~= '' then life.rule, life.terms = rule, terms end
    local why = wind_up(value == 'forfeit')
    if why then return why end
    life.hand = false
    enter(life, 'terminated', now)
    return
  end
  if not life then return 'gone' end
  if rule ~= '' then life.rule, life.terms = rule, terms end
  if step == 'until' then
    if LIFE_OVER[life.phase] then return 'over' end
    local ends = tonumber(value)
    activate(life, now)
    set_end(life, ends, now)
    return
  end
  if step == 'used' then
    if life.hand or not life_used(life, use_time or now) then return 'gone' end
    return
  end
  if step == 'recycled' then
    if life.phase ~= 'terminated' or life.ends == 0 or life.ends > now then return 'gone' end
    at = life.ends
    enter(life, 'recycled', at)
    return
  end
  -- due
  local when = life_due(life)
  if not when then return 'gone' end
  if when > now then return 'early' end
  if rule == '' then return 'waits' end
  at = when
  local warn = next_warning(life)
  if warn then
    life.told, kind = warn, 'life'
    events = format(',"events":[["expires-soon","account",%d]]', warn)
    return
  end
  local next_phase = LIFE_NEXT[life.phase]
  -- What lasts no time is not entered.
  while next_phase ~= 'terminated' and next_phase ~= 'recycled' and phase_length(life, next_phase) == 0 do next_phase = LIFE_NEXT[next_phase] end
  if next_phase == 'recycled' then return 'recycle' end
  if next_phase == 'terminated' and wind_up(life_term(life, 'forfeit') == '1') then return 'later' end
  enter(life, next_phase, at)
  if LIFE_OVER[life.phase] then life.hand = false end
end

local no = decide()
if not no then funds.status = life_status(life) end
if not no and values[2] == write_life(life) then no = 'unchanged' end
local when, entry, asked, counts = life and life_due(life), nil, false, {}
if not no and kind ~= 'silent' then
  if funds.status == status_before and step ~= 'terminate' then kind = 'life' end
  funds.seq = funds.seq + 1
  if kind == 'status' then
    entry = status_entry(account_id, funds.seq, now, '"kind":"status",' .. cause, status_before, funds.status, life, concat(book.posts, ','), funds.held)
  else
    entry = format('{"account":"%s","seq":%d,"at":%d,"kind":"life",%s,"rule":"%s",%s%s,"posts":[%s],"lines":[],"held":%d}',
      account_id, funds.seq, now, cause, life.rule, life_json(life), events, concat(book.posts, ','), funds.held)
  end
end
if not no then
  if step == 'recycled' then funds.rev = digits(tonumber(funds.rev) + 1) end
  asked = funds.open > 0 and funds.status ~= status_before
  local wrong = defect(book)
  assert(not wrong, wrong)
  counts = #census.fields > 0 and counted(census, redis.call('HMGET', census_key, unpack(census.fields))) or {}
end
redis.call('ZCARD', due_key) -- a key of another type shows before anything is written
redis.call('HLEN', census_key)
-- Write.
if entry then redis.call('XADD', journal_key, '*', 'e', entry) end
if no then
  -- What the list says of it is set right.
  if no == 'later' or no == 'waits' then redis.call('ZADD', due_key, now + LOOK_AGAIN, member)
  elseif no == 'early' then redis.call('ZADD', due_key, when, member)
  elseif member ~= '' and no ~= 'recycle' then redis.call('ZREM', due_key, member) end
else
  redis.call('HSET', account_key, 'funds', write_funds(funds), 'life', write_life(life))
  if empties then redis.call('HSET', account_key, 'order', '') end
  if step == 'recycled' then redis.call('HSET', account_key, 'subscribers', '') end
  for _, field in ipairs(gone_buckets) do redis.call('HDEL', account_key, field) end
  if #counts > 0 then redis.call('HSET', census_key, unpack(counts)) end
  if member ~= '' then redis.call('ZREM', due_key, member) end
  if when then redis.call('ZADD', due_key, when, life_member) else redis.call('ZREM', due_key, life_member) end
  if asked then redis.call('ZADD', due_key, now, 'reauth-all ' .. account_id) end
end
return no or format('done %s %d%s', funds.status, life.ends, asked and ' due' or '')
