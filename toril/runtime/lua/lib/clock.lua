-- The server's clock; only tests give a time of their own (now_ms, else '').
-- Returns epoch milliseconds and epoch microseconds, both exact integers below 2^53.
local function clock(now_ms)
  if now_ms ~= '' then
    return tonumber(now_ms), tonumber(now_ms) * 1000
  end
  local time = redis.call('TIME')
  local s, us = tonumber(time[1]), tonumber(time[2])
  return s * 1000 + math.floor(us / 1000), s * 1000000 + us
end

-- A number as plain digits: tostring and concatenation would write 1.8e+15.
local function int(number)
  return string.format('%.0f', number)
end
