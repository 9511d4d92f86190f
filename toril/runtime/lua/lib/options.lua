-- include lib/clock.lua
-- Options of jobs that are added: many jobs of a call share them, so each is passed once.
--
-- In ARGV: their number; for each opts JSON, timestamp_ms ('' = now), delay_ms, priority, 'lifo' or
-- '', deduplication JSON or '', full key of the parent or '', parent JSON or ''. Returns them as
-- tables and the place of the first argument after them.
local OPTIONS_WIDTH = 8

local function options_at(at, now_ms)
  local options, after = {}, at + 1 + OPTIONS_WIDTH * tonumber(ARGV[at])
  for i = at + 1, after - 1, OPTIONS_WIDTH do
    options[#options + 1] = {
      opts = ARGV[i], timestamp = ARGV[i + 1] ~= '' and ARGV[i + 1] or int(now_ms),
      delay = ARGV[i + 2], priority = ARGV[i + 3], is_lifo = ARGV[i + 4] == 'lifo',
      dedup = ARGV[i + 5], parent_key = ARGV[i + 6], parent = ARGV[i + 7],
    }
  end
  return options, after
end
