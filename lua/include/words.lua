-- Short names for what every script uses. Numbers leave Lua through digits() or '%d' only: `..`, tostring and cjson keep 14
-- digits. A text of digits becomes a number by `+ 0`, which converts it once (tonumber does it twice), and fails on nil.

local floor, ceil, min, max = math.floor, math.ceil, math.min, math.max
local format, match, gmatch, find, sub, concat = string.format, string.match, string.gmatch, string.find, string.sub, table.concat
local MOST = { octets = 100000000000000, seconds = 1000000000, events = 100000000, money = 1000000000000 } -- of one line, as src/units.ts says
local MOST_MONEY = 4503599627370496 -- 2^52, so that sums of two stay exact

local function digits(n) return format('%d', n) end

local NONE = {} -- an empty list or table that nobody adds to
