#!lua flags=allow-oom
-- Puts an active job back to the front and holds the queue: its processor met somebody's limit.
-- Nothing is claimed while `toril:hold` lives; BullMQ's workers are told by their `limiter`, which
-- they obey where a `max` is set. A hold that lasts longer already stays.
-- BullMQ layout: move an active job back to wait, rate limit by hand.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, hold_ms,
--          verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   waiting
--
-- include lib/clock.lua
-- include lib/enqueue.lua
-- include lib/settle.lua
local OVER_ANY_MAX = '9007199254740991'

local base, id, token, hold_ms = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local now_ms = clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
check_settlement(base)

leave_verdict(base, id, token, now_ms, 6)
leave_active(base, id)
if hold_ms > 0 and redis.call('PTTL', base .. 'toril:hold') < hold_ms then
  redis.call('SET', base .. 'toril:hold', int(now_ms + hold_ms), 'PX', hold_ms)
  redis.call('SET', base .. 'limiter', OVER_ANY_MAX, 'PX', hold_ms)
end
push_back(base, id)
return 'done'
