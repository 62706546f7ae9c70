-- A node is no longer live.
-- KEYS: live (see announce.lua)
-- ARGV: node|boot, channel, news for it
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends and tonumber(ends) > now then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
