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

-- nil for what is no number that can be counted with.
local function stored_number(value)
  local found = tonumber(value or '')
  return found and found >= -NUMBER_MAX and found <= NUMBER_MAX and found or nil
end

-- A count: a whole number from 0, which is also what stands for anything else.
local function stored_count(value)
  return math.max(0, math.floor(stored_number(value) or 0))
end
