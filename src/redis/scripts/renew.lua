-- Extends a lease, only while it is this connection's.
-- KEYS: online, leases (see register.lua)
-- ARGV: device, connection, lease in ms
-- Answer: 1 extended, 0 not this connection's
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[3])

local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
local route = redis.call('HGET', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now or not route then
  return 0
end
if string.match(route, '^[^|]*|[^|]*|([^|]*)|') ~= ARGV[2] then
  return 0
end
redis.call('ZADD', KEYS[2], now + lease, ARGV[1])
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < 2 * lease then
    redis.call('PEXPIRE', key, 2 * lease)
  end
end
return 1
