-- Takes a device offline, only while it is this connection's.
-- KEYS: online, leases (see register.lua)
-- ARGV: device, connection
-- Answer: 1 removed, 0 not this connection's
local route = redis.call('HGET', KEYS[1], ARGV[1])
if not route or string.match(route, '^[^|]*|[^|]*|([^|]*)|') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
