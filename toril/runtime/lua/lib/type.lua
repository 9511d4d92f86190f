-- What must be so before the first write: a key is none, or of its type.

local function check_type(key, expected, what)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= expected then
    error({err = 'WRONGTYPE the key ' .. key .. ' is no ' .. what .. ' but a ' .. kind})
  end
  return kind
end

-- Which of these keys hold a job; as a rule none does, which one command tells.
local function jobs_among(keys)
  local found = {}
  if redis.call('EXISTS', unpack(keys)) > 0 then
    for _, key in ipairs(keys) do
      found[key] = check_type(key, 'hash', 'job') ~= 'none'
    end
  end
  return found
end
