-- Numbers that somebody else has stored: options of a job, fields of its hash, settings.

local NUMBER_MAX = 9007199254740991

-- The nearest that can be counted with; nil for what is none. Neither a NaN, on which a ZADD fails
-- half-way, nor what is too large for an expiry or for JSON.
local function number_of(value)
  local number = tonumber(value or '')
  if not number or number ~= number then
    return nil
  end
  return math.max(-NUMBER_MAX, math.min(number, NUMBER_MAX))
end

-- A count: a whole number from 0, which also stands for what nobody can have counted to.
local function count_of(value)
  local number = number_of(value) or 0
  return number < NUMBER_MAX and math.max(0, math.floor(number)) or 0
end
