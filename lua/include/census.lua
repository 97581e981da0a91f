-- How many subscriptions (`offer:<name>`) and buckets (`bucket:<name>`) the accounts of a partition have: what a script changes of it.

local function new_census() return { fields = {}, by = {} } end

local function count(census, field, by)
  if not census.by[field] then
    census.fields[#census.fields + 1] = field
    census.by[field] = 0
  end
  census.by[field] = census.by[field] + by
end

-- What to write, from what stands there now: `values` are of census.fields, in their order.
local function counted(census, values)
  local out = {}
  for i, field in ipairs(census.fields) do
    out[#out + 1], out[#out + 2] = field, digits((values[i] or 0) + census.by[field])
  end
  return out
end
