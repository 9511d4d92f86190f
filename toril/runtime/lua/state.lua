#!lua flags=no-writes
-- Where a job is, and how it ended.
--
-- KEYS[1]  base
-- ARGV     now_ms, id
-- Returns  {state, last event id, returnvalue or '', failedReason or ''}
--          state: completed | failed | delayed | prioritized | active | waiting |
--          waiting-children | unknown (there, in no list) | gone
--          last event id: 0-0 for an empty stream; whoever reads on from there misses nothing
-- BullMQ layout: queries
--
-- include lib/state.lua
local base, id = KEYS[1], ARGV[2]
local last = redis.call('XREVRANGE', base .. 'events', '+', '-', 'COUNT', 1)
local ended = redis.call('HMGET', base .. id, 'returnvalue', 'failedReason')
return {
  state_of(base, id), last[1] and last[1][1] or '0-0', ended[1] or '', ended[2] or '',
}
