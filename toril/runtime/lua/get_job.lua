#!lua flags=no-writes
-- A whole job.
--
-- KEYS[1]  base
-- ARGV     now_ms, id
-- Returns  {field, value, …}; empty = there is no such job
-- BullMQ layout: the job hash
--
return redis.call('HGETALL', KEYS[1] .. ARGV[2])
