#!lua flags=no-writes
-- Finds the active jobs that carry one of the given tokens: after a claim whose reply was lost.
-- The newest SCAN_MAX active jobs are looked at. Changes nothing.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), max_data_bytes, max_opts_bytes, tokens...
-- Returns  {token, job, token, job...}, see lib/jobs.lua, in the order they were claimed
-- Events   none
--
-- include lib/jobs.lua
local SCAN_MAX = 10000
local FIRST_TOKEN = 4

local base = KEYS[1]
local max_bytes = {data = tonumber(ARGV[2]), opts = tonumber(ARGV[3])}
local wanted = {}
for i = FIRST_TOKEN, #ARGV do
  wanted[ARGV[i]] = true
end

local jobs = {}
local ids = redis.call('LRANGE', base .. 'active', 0, SCAN_MAX - 1)
for i = #ids, 1, -1 do
  local token = redis.pcall('GET', base .. ids[i] .. ':lock')
  local job = wanted[token] and read_job(base, ids[i], max_bytes)
  if job then
    jobs[#jobs + 1] = token
    jobs[#jobs + 1] = job.reply
  end
end
return jobs
