-- The keys of a job, all but its lock. Unlinked: a flow's sets and a log may be long, and would hold
-- Redis up while they are freed. An id that names a key of the queue itself, which somebody has put
-- among the finished jobs, would drag the queue along.

local KEYS_OF_QUEUE = {}
for _, name in ipairs({
  'id', 'wait', 'prioritized', 'delayed', 'waiting-children', 'active', 'completed', 'failed',
  'paused', 'stalled', 'stalled-check', 'limiter', 'meta', 'pc', 'marker', 'events', 'repeat',
}) do
  KEYS_OF_QUEUE[name] = true
end

local function drop_keys(base, id)
  if KEYS_OF_QUEUE[id] then
    return
  end
  local job = base .. id
  redis.call(
    'UNLINK', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful'
  )
end
