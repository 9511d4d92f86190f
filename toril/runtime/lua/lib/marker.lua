-- include lib/meta.lua
-- Wake-up signals for blocked workers: member "0" = fetch now, member "1" = look again then.

local SCORE_PER_MS = 4096

-- There is probably something to fetch now; withheld while nobody may fetch.
local function base_mark(base)
  if not is_gated(base) then
    redis.call('ZADD', base .. 'marker', 0, '0')
  end
end

-- The first delayed job's time; written whether the queue is gated or not.
local function delay_mark(base)
  local first = redis.call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', base .. 'marker', tonumber(first[2]) / SCORE_PER_MS, '1')
  end
end
