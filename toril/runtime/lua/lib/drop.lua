-- The keys of a job, all but its lock. Unlinked: a flow's sets and a log may be long, and would hold
-- Redis up while they are freed.

local function drop_keys(base, id)
  local job = base .. id
  redis.call(
    'UNLINK', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful'
  )
end
