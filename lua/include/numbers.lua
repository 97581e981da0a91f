-- Which CC-Request-Numbers of a session were answered: the highest, and at most 16 ranges below it that never came.

local MOST_GAPS = 16

local function was_answered(state, number)
  if number > state.number then return false end
  if state.gaps ~= '-' then
    for from, to in gmatch(state.gaps, '(%d+)-(%d+)') do
      if number >= tonumber(from) and number <= tonumber(to) then return false end
    end
  end
  return true
end

-- Notes a number as answered. A range too many closes the oldest: its numbers then count as answered.
local function note_answered(state, number)
  if number == state.number + 1 then
    state.number = number
    return
  end
  local ranges = {}
  if state.gaps ~= '-' then
    for from, to in gmatch(state.gaps, '(%d+)-(%d+)') do
      from, to = tonumber(from), tonumber(to)
      if number >= from and number <= to then
        if number > from then ranges[#ranges + 1] = format('%d-%d', from, number - 1) end
        if number < to then ranges[#ranges + 1] = format('%d-%d', number + 1, to) end
      else
        ranges[#ranges + 1] = format('%d-%d', from, to)
      end
    end
  end
  if number > state.number + 1 then ranges[#ranges + 1] = format('%d-%d', state.number + 1, number - 1) end
  state.number = max(state.number, number)
  while #ranges > MOST_GAPS do table.remove(ranges, 1) end
  state.gaps = #ranges == 0 and '-' or concat(ranges, ',')
end
