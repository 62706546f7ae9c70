-- Extends places that connections have among the tenant's (what renew.lua does where it may touch this slot as well).
-- KEYS: places (see take_place.lua)
-- ARGV: for each place member, lease in ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local longest = 0
for n = 1, #ARGV, 2 do
  local lease = tonumber(ARGV[n + 1])
  redis.call('ZADD', KEYS[1], now + lease, ARGV[n])
  longest = math.max(longest, lease)
end
if redis.call('PTTL', KEYS[1]) < 2 * longest then
  redis.call('PEXPIRE', KEYS[1], 2 * longest)
end
return 1
