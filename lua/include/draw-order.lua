--[[
The draw order, semantics.md section 5: priority (smaller first), earliest end (none last), granted before paid, oldest, id. It is
worked out when a bucket comes, goes or gets its end, and kept as the text of the account's field `order`: a charge sorts nothing.
]]

-- Buckets as read_bucket gives them, in any order. An id is the ledger entry it came with and a number in it, so it tells its age.
local function draw_order(buckets)
  local list = {}
  for i, bucket in ipairs(buckets) do
    local entry, n = match(bucket.id, '^(%d+)-(%d+)$')
    local priority, paid = match(bucket.rest, '^ priority (%d+)') + 0, match(bucket.rest, ' with paid') and 1 or 0
    local ends = bucket.ends > 0 and bucket.ends or math.huge
    list[i] = { word = bucket.id .. ':' .. bucket.name, priority = priority, ends = ends, paid = paid, entry = entry + 0, n = n + 0 }
  end
  table.sort(list, function(a, b)
    if a.priority ~= b.priority then return a.priority < b.priority end
    if a.ends ~= b.ends then return a.ends < b.ends end
    if a.paid ~= b.paid then return a.paid < b.paid end
    if a.entry ~= b.entry then return a.entry < b.entry end
    return a.n < b.n
  end)
  local words = {}
  for i, each in ipairs(list) do words[i] = each.word end
  return concat(words, ' ')
end
