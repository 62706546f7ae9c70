-- Puts a device online; the newest connection of a device wins.
-- KEYS: online (hash: device -> route), leases (zset: device -> end of its lease, Unix ms)
-- ARGV: device, route, connection, lease in ms, limit of the user (0 = none), '1' = only if the device is online already,
--       channel, news for it, when the connection came, Unix ms, if an entry of a newer one is to stay; else ''
-- Answer: {'new'}, {'replaced', earlier route}, {'newer'}, {'full', devices online} or {'absent'}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local device, connection, lease, limit = ARGV[1], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('HDEL', KEYS[1], expired)
  redis.call('ZREM', KEYS[2], expired)
end

local answer = {'new'}
local earlier = redis.call('ZSCORE', KEYS[2], device) and redis.call('HGET', KEYS[1], device)
if earlier then
  local earlier_at = tonumber(string.match(earlier, '^[^|]*|[^|]*|[^|]*|(-?%d+)'))
  if ARGV[9] ~= '' and earlier_at and earlier_at > tonumber(ARGV[9]) then
    return {'newer'}
  end
  answer = {'replaced', earlier}
else
  local online = redis.call('ZCARD', KEYS[2])
  if limit > 0 and online >= limit then
    return {'full', online}
  end
  if ARGV[6] == '1' then
    return {'absent'}
  end
end

redis.call('HSET', KEYS[1], device, ARGV[2])
redis.call('ZADD', KEYS[2], now + lease, device)
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < 2 * lease then
    redis.call('PEXPIRE', key, 2 * lease)
  end
end
if not earlier or string.match(earlier, '^[^|]*|[^|]*|([^|]*)|') ~= connection then
  redis.call('PUBLISH', ARGV[7], ARGV[8])
end
return answer
