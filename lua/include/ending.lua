-- What becomes of a bucket at its end, semantics.md section 8: its free part expires, or goes on in another bucket.

local LOOK_AGAIN = 3600000 -- ms: whether what was held of an ended bucket has come back, and it can go

-- Posts it. `id`: of the bucket that what is left goes on in; gives that bucket when there is one.
local function end_bucket(book, bucket, id, census)
  local free, rolled = bucket.left - bucket.held, nil
  local least, most, life, priority = match(bucket.rest, ' with .*roll=(%d+),(%d+),(%d+),(%d+)')
  if least and free > 0 and free >= tonumber(least) then
    -- From the old one's end, however late we are. Not rolled twice: the new one has no `roll`; nor does it block or warn.
    local origin, sub, catalog = match(bucket.rest, ' origin (%S+)'), match(bucket.rest, ' sub (%d+) at '), match(bucket.rest, ' catalog (%S+)')
    local paid = match(bucket.rest, ' with paid')
    local amount = min(free, tonumber(most))
    rolled = { id = id, name = bucket.name, unit = bucket.unit, left = 0, held = 0, ends = bucket.ends + life }
    rolled.rest = format(' priority %d origin %s%s%s', priority, origin,
      sub and format(' sub %s at %d first %d catalog %s', sub, bucket.ends, amount, catalog) or '', paid and ' with paid' or '')
    free = free - amount
    post_bucket(book, bucket, -amount)
    post_bucket(book, rolled, amount)
    count(census, 'bucket:' .. rolled.name, 1)
  end
  post_bucket(book, bucket, -free, 'expiry')
  if bucket.left == 0 then count(census, 'bucket:' .. bucket.name, -1) end -- so nothing is held, either
  return rolled
end
