-- Numbers that somebody else has stored: options of a job, fields of its hash, settings.

local NUMBER_MAX = 9007199254740991

-- The default, 0 if not given, for what is none. Neither a NaN, on which a ZADD fails half-way, nor
-- what is too large for an expiry or for JSON.
local function number_of(value, default)
  local number = tonumber(value or '')
  if not number or number ~= number then
    return default or 0
  end
  return math.max(-NUMBER_MAX, math.min(number, NUMBER_MAX))
end
