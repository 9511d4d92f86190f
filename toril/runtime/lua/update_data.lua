#!lua
-- Replaces a job's data, wherever it is.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), id, data (JSON)
-- Returns  'done' | 'gone'; only 'done' changes anything
-- Events   none
-- BullMQ layout: update data
--
if redis.call('HLEN', KEYS[1] .. ARGV[2]) == 0 then
  return 'gone'
end
redis.call('HSET', KEYS[1] .. ARGV[2], 'data', ARGV[3])
return 'done'
