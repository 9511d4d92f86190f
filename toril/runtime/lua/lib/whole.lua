-- INCR fails on anything else, and so half-way; `value` is what GET read.
local function is_counter(value)
  return value == false or (#value < 18 and value:find('^-?%d+$') ~= nil)
end
