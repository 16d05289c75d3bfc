-- Decides for a whole batch how many units may go now, over all its limits at once.
--
-- KEYS[i]            state of limit i (see mailer/limits/__init__.py for the names)
-- ARGV[1]            units wanted
-- ARGV[2i], [2i+1]   limit i: units, seconds
-- returns            {granted, milliseconds until at least one more unit may go}
--
-- A limit's state is a hash: how many units went in each slice, a hundredth of its length, by the
-- slice's number. All slices that touch the rolling window count in full, so no window ever holds
-- more than the limit; at the worst one part in a hundred of it is left unused.
--
-- Time is the server's, in microseconds. Every key expires by itself.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local granted = tonumber(ARGV[1])
local wait = 0

local function look(key, units, length)
  local slice = length / 100
  local current = math.floor(now / slice)
  local used, oldest, stale = 0, nil, {}
  local counts = redis.call('HGETALL', key)
  for i = 1, #counts, 2 do
    local at = tonumber(counts[i])
    if at < current - 100 then
      stale[#stale + 1] = counts[i]
    else
      used = used + tonumber(counts[i + 1])
      if not oldest or at < oldest then oldest = at end
    end
  end
  local pause = oldest and (oldest + 101) * slice - now or 0
  return units - used, math.max(pause, 0), function(taken)
    if #stale > 0 then redis.call('HDEL', key, unpack(stale)) end
    redis.call('HINCRBY', key, string.format('%.0f', current), taken)
    redis.call('PEXPIRE', key, math.ceil(length / 1000 * 1.02))
  end
end

local commits = {}
for i, key in ipairs(KEYS) do
  local room, pause, commit = look(key, tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1]) * 1000000)
  if room < granted then
    granted = math.max(room, 0)
    wait = math.max(wait, pause)
  end
  commits[i] = commit
end
if granted > 0 then
  for _, commit in ipairs(commits) do commit(granted) end
end
return {granted, math.ceil(wait / 1000)}
