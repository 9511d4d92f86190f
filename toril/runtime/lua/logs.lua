#!lua flags=no-writes
-- A job's log lines, oldest first.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, first, last (as LRANGE counts)
-- Returns  {line, …}
-- BullMQ layout: the log rows of a job
--
return redis.call('LRANGE', KEYS[1] .. ARGV[2] .. ':logs', ARGV[3], ARGV[4])
