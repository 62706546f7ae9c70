-- Every live node.
-- KEYS: live, peers (see announce.lua)
-- Answer: {live node|boot, endpoint, ..}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  live[#live + 1] = member
  live[#live + 1] = redis.call('HGET', KEYS[2], member) or ''
end
return live
