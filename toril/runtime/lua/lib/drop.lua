-- The keys of a job, all but its lock. Unlinked: a flow's sets and a log may be long, and would hold
-- Redis up while they are freed. An id that names a key of the queue itself, which somebody has put
-- among the finished jobs, would drag the queue along.

-- One string: a table would be built anew by every run of every script.
local KEYS_OF_QUEUE = '|id|wait|prioritized|delayed|waiting-children|active|completed|failed|paused'
  .. '|stalled|stalled-check|limiter|meta|pc|marker|events|repeat|'

local function is_key_of_queue(id)
  return not id:find('|', 1, true) and KEYS_OF_QUEUE:find('|' .. id .. '|', 1, true) ~= nil
end

local function drop_keys(base, id)
  if is_key_of_queue(id) then
    return
  end
  local job = base .. id
  redis.call(
    'UNLINK', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful'
  )
end
