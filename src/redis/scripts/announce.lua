-- A node's sign of life.
-- KEYS: live (zset: node|boot -> end of its last sign of life, Unix ms), peers (hash: node|boot -> endpoint)
-- ARGV: node|boot, 'node|', endpoint, sign of life in ms, time to keep silent keys in ms, channel, news for it
-- Answer: {1 when the last sign of life was still there, now, {live node|boot, endpoint, ..}, {dead node|boot, endpoint, ..}}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, node = ARGV[1], ARGV[2]

local ends = redis.call('ZSCORE', KEYS[1], me)
local remembered = ends and tonumber(ends) > now
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), me)
redis.call('HSET', KEYS[2], me, ARGV[3])

local live, dead = {}, {}
local known = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for n = 1, #known, 2 do
  local member, score = known[n], tonumber(known[n + 1])
  if member ~= me and score > 0 and string.sub(member, 1, #node) == node then
    redis.call('ZADD', KEYS[1], 0, member)
    score = 0
  end
  local list = score > now and live or dead
  list[#list + 1] = member
  list[#list + 1] = redis.call('HGET', KEYS[2], member) or ''
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[5])
end
if not remembered then
  redis.call('PUBLISH', ARGV[6], ARGV[7])
end
return {remembered and 1 or 0, now, live, dead}
