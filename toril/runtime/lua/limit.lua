#!lua flags=allow-oom
-- Sets, offers or removes the queue's global rate limit.
--
-- KEYS[1]  base
-- ARGV     now_ms, mode, tokens, per_us, burst, revision (the last four '' for none)
--          mode: 'set' (an operator's word: always applies; the higher revision stays, so that a
--          configuration does not undo it) | 'offer' (a configuration's: applies where no limit is
--          or its revision is higher) | 'remove'
-- Returns  {tokens, per_us, burst, revision} now in force; empty = no limit
-- Tokens that were left stay, clipped to the new burst.
-- Events   none
--
-- include lib/clock.lua
-- include lib/bucket.lua
local base, mode = KEYS[1], ARGV[2]
local _, now_us = clock(ARGV[1])
local current, wanted = bucket_read(base, now_us), bucket_from_args(ARGV, 3)

if mode == 'remove' then
  redis.call('DEL', base .. 'toril:limit')
  return {}
end
if mode == 'set' and current then
  wanted.revision = math.max(wanted.revision, current.revision)
  wanted.level = bucket_carry(current, wanted)
  current = wanted
  bucket_write(base, current, now_us)
else
  local is_new
  current, is_new = bucket_configured(current, wanted)
  if is_new then
    bucket_write(base, current, now_us)
  end
end
if not current then
  return {}
end
return {
  int(current.tokens), int(current.per_us), int(current.burst), int(current.revision),
}
