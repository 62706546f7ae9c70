-- Takes or renews a connection's place among the tenant's connections.
-- KEYS: places (zset: connection -> end of its lease, Unix ms)
-- ARGV: member, lease in ms, limit (0 = none)
-- Answer: {1, places taken} or {0, places taken} when full
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, limit = tonumber(ARGV[2]), tonumber(ARGV[3])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local taken = redis.call('ZCARD', KEYS[1])
if limit > 0 and taken >= limit and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return {0, taken}
end
redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
if redis.call('PTTL', KEYS[1]) < 2 * lease then
  redis.call('PEXPIRE', KEYS[1], 2 * lease)
end
return {1, taken}
