-- The live routes of one user or several (several only where keys need not share a slot).
-- KEYS: online, leases (see register.lua), for each user
-- Answer: for each user {device, route, device, route, ..}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local answer = {}
for first = 1, #KEYS, 2 do
  local routes = {}
  for _, device in ipairs(redis.call('ZRANGEBYSCORE', KEYS[first + 1], '(' .. now, '+inf')) do
    local route = redis.call('HGET', KEYS[first], device)
    if route then
      routes[#routes + 1] = device
      routes[#routes + 1] = route
    end
  end
  answer[#answer + 1] = routes
end
return answer
