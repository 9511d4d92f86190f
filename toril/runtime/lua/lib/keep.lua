-- include lib/clock.lua
-- include lib/number.lua
-- include lib/drop.lua
-- include lib/remove.lua
-- Which finished jobs stay. Removes at most TRIM_MAX jobs by count and `limit` by age per call:
-- what is left goes with the next finished job.

local TRIM_MAX = 1000
local COUNT_MAX = 2147483647

local function drop_all(base, set, ids)
  for _, id in ipairs(ids) do
    detach(base, id, ties_of(base, id), false)
    drop_keys(base, id)
    redis.call('ZREM', base .. set, id)
  end
end

-- count: the newest so many stay, negative keeps all; age_s: '' keeps any age.
local function trim_finished(base, set, now_ms, count, age_s, limit)
  if age_s ~= '' then
    local oldest_ms = int(math.floor(now_ms - tonumber(age_s) * 1000))
    drop_all(base, set, redis.call(
      'ZREVRANGEBYSCORE', base .. set, oldest_ms, '-inf', 'LIMIT', 0, limit
    ))
  end
  if count > 0 then
    drop_all(base, set, redis.call('ZREVRANGE', base .. set, count, count + TRIM_MAX - 1))
  end
end

-- A stored number as an integer that every command takes; the default for what is none.
local function keep_number(value, default)
  return math.ceil(math.min(math.max(number_of(value) or default, -1), COUNT_MAX))
end

-- The keep rule in a job's own options (JSON); without one all stay.
local function keep_rule(opts, option)
  local ok, decoded = pcall(cjson.decode, opts or '')
  local rule = ok and type(decoded) == 'table' and decoded[option]
  if type(rule) ~= 'table' then
    return {count = rule == true and 0 or keep_number(rule, -1), age_s = '', limit = TRIM_MAX}
  end
  return {
    count = keep_number(rule.count, -1), age_s = number_of(rule.age) or '',
    limit = math.max(keep_number(rule.limit, TRIM_MAX), 1),
  }
end
