-- Extends leases, each only while it is still this connection's, and with it the connection's place in the tenant.
-- KEYS: for each lease online, leases (see register.lua) and, where keys need not share a slot, places (see take_place.lua)
-- ARGV: keys per lease (2 or 3), then for each lease device, connection, lease in ms, member of places
-- Answer: for each lease 1 extended, 0 nobody's, 2 another connection's
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function extend(key, ends, member, lease)
  redis.call('ZADD', key, ends, member)
  if redis.call('PTTL', key) < 2 * lease then
    redis.call('PEXPIRE', key, 2 * lease)
  end
end

local function renew(online, leases, places, device, connection, lease, member)
  local ends = redis.call('ZSCORE', leases, device)
  local route = redis.call('HGET', online, device)
  if not ends or tonumber(ends) <= now or not route then
    return 0
  end
  if string.match(route, '^[^|]*|[^|]*|([^|]*)|') ~= connection then
    return 2
  end
  extend(leases, now + lease, device, lease)
  if redis.call('PTTL', online) < 2 * lease then
    redis.call('PEXPIRE', online, 2 * lease)
  end
  if places then
    extend(places, now + lease, member, lease)
  end
  return 1
end

local stride, answer = tonumber(ARGV[1]), {}
for n = 0, #KEYS / stride - 1 do
  local key, arg = n * stride + 1, n * 4 + 2
  local places = stride == 3 and KEYS[key + 2]
  answer[n + 1] = renew(KEYS[key], KEYS[key + 1], places, ARGV[arg], ARGV[arg + 1], tonumber(ARGV[arg + 2]), ARGV[arg + 3])
end
return answer
