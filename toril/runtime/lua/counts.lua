#!lua flags=no-writes
-- How many jobs are in which state.
--
-- KEYS[1]  base
-- ARGV     now_ms
-- Returns  {waiting, active, delayed, prioritized, completed, failed, waiting-children, paused}
--          paused: what a BullMQ v5 process set aside in its `paused` list
-- BullMQ layout: queries
--
local base = KEYS[1]
return {
  redis.call('LLEN', base .. 'wait'),
  redis.call('LLEN', base .. 'active'),
  redis.call('ZCARD', base .. 'delayed'),
  redis.call('ZCARD', base .. 'prioritized'),
  redis.call('ZCARD', base .. 'completed'),
  redis.call('ZCARD', base .. 'failed'),
  redis.call('ZCARD', base .. 'waiting-children'),
  redis.call('LLEN', base .. 'paused'),
}
