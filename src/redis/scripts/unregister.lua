-- Takes devices offline, each only while it is still this connection's.
-- KEYS: for each lease online, leases (see register.lua); several leases only where keys need not share a slot
-- ARGV: channel, then for each lease device, connection, news for the channel
-- Answer: for each lease the route that was removed, or ''
local answer = {}
for key = 1, #KEYS, 2 do
  local arg = (key - 1) / 2 * 3 + 2
  local route = redis.call('HGET', KEYS[key], ARGV[arg])
  if route and string.match(route, '^[^|]*|[^|]*|([^|]*)|') == ARGV[arg + 1] then
    redis.call('HDEL', KEYS[key], ARGV[arg])
    redis.call('ZREM', KEYS[key + 1], ARGV[arg])
    redis.call('PUBLISH', ARGV[1], ARGV[arg + 2])
  else
    route = ''
  end
  answer[#answer + 1] = route
end
return answer
