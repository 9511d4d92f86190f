-- include lib/clock.lua
-- Which finished jobs stay. Removes at most TRIM_MAX jobs by count and `limit` by age per call:
-- what is left goes with the next finished job.

local TRIM_MAX = 1000
local COUNT_MAX = 2147483647

local function drop_keys(base, id)
  local job = base .. id
  redis.call(
    'DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful'
  )
end

local function drop_all(base, set, ids)
  for _, id in ipairs(ids) do
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
  local number = tonumber(value or '') or default
  return math.ceil(math.min(math.max(number, -1), COUNT_MAX))
end

-- The keep rule in a job's own options (JSON); without one all stay.
local function keep_rule(opts, option)
  local ok, decoded = pcall(cjson.decode, opts or '')
  local rule = ok and type(decoded) == 'table' and decoded[option]
  if type(rule) ~= 'table' then
    return {count = rule == true and 0 or keep_number(rule, -1), age_s = '', limit = TRIM_MAX}
  end
  return {
    count = keep_number(rule.count, -1), age_s = tonumber(rule.age or '') or '',
    limit = math.max(keep_number(rule.limit, TRIM_MAX), 1),
  }
end

-- A deduplication key that the finished job owns is released; one with time left outlives it.
local function release_dedup(base, id, dedup_id)
  if not dedup_id then
    return
  end
  local key = base .. 'de:' .. dedup_id
  local ttl_ms = redis.call('PTTL', key)
  if ttl_ms == 0 or (ttl_ms == -1 and redis.pcall('GET', key) == id) then
    redis.call('DEL', key)
  end
end
