-- The keys of a job, all but its lock.

local function drop_keys(base, id)
  local job = base .. id
  redis.call(
    'DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful'
  )
end
