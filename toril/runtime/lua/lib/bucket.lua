-- include lib/clock.lua
-- include lib/number.lua
-- Our global token bucket, in the hash `toril:limit`: {tokens, per_us, burst, revision, level, at}.
-- The level counts units of 1/per_us token: a claim costs per_us units, a microsecond brings
-- `tokens` units, burst * per_us is the brim. All are exact integers below 2^53.
-- Missing level or time means a full bucket, never "no limit"; a time to come, that the server's clock
-- was set back: it counts from now on. What is no limit at all counts as none.

local BUCKET_FIELDS = {'tokens', 'per_us', 'burst', 'revision', 'level', 'at'}

local function bucket_read(base, now_us)
  local f = redis.pcall('HMGET', base .. 'toril:limit', unpack(BUCKET_FIELDS))
  local tokens, per_us, burst = count_of(f[1]), count_of(f[2]), count_of(f[3])
  local brim = burst * per_us
  if tokens == 0 or brim == 0 or brim > NUMBER_MAX then
    return nil
  end
  local bucket = {tokens = tokens, per_us = per_us, burst = burst, revision = count_of(f[4])}
  local level, at = number_of(f[5]), number_of(f[6])
  bucket.level = brim
  if level and level >= 0 and at then
    local gain = math.max(0, now_us - at) * tokens
    if gain < brim - level then
      bucket.level = level + gain
    end
  end
  bucket.is_ahead = at ~= nil and at > now_us
  return bucket
end

-- The same number of tokens under another limit, clipped to its burst.
local function bucket_carry(old, new)
  local whole = math.floor(old.level / old.per_us)
  if whole >= new.burst then
    return new.burst * new.per_us
  end
  local part = math.floor(old.level % old.per_us / old.per_us * new.per_us)
  return whole * new.per_us + math.min(part, new.per_us - 1)
end

-- The limit to apply when a configuration brings `wanted` (or nil): it counts only where no limit
-- is or where its revision is higher. Second value: whether it has to be written.
local function bucket_configured(current, wanted)
  if not wanted or (current and wanted.revision <= current.revision) then
    return current, current ~= nil and current.is_ahead
  end
  wanted.level = current and bucket_carry(current, wanted) or wanted.burst * wanted.per_us
  return wanted, true
end

local function bucket_write(base, bucket, now_us)
  local key = base .. 'toril:limit'
  local fields = {
    'tokens', int(bucket.tokens), 'per_us', int(bucket.per_us), 'burst', int(bucket.burst),
    'revision', int(bucket.revision), 'level', int(bucket.level), 'at', int(now_us),
  }
  if type(redis.pcall('HSET', key, unpack(fields))) == 'table' then
    redis.call('DEL', key)
    redis.call('HSET', key, unpack(fields))
  end
end

-- {tokens, per_us, burst, revision} as they stand in ARGV from `first` on; nil where '' stands.
local function bucket_from_args(args, first)
  if args[first] == '' then
    return nil
  end
  return {
    tokens = tonumber(args[first]), per_us = tonumber(args[first + 1]),
    burst = tonumber(args[first + 2]), revision = tonumber(args[first + 3]),
  }
end
