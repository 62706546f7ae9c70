-- Takes part of what a tenant may send in this second.
-- KEYS: budget (hash: the second that was last asked about, what was taken of it)
-- ARGV: wanted, most in a second
-- Answer: how much was taken
local second = redis.call('TIME')[1]
local wanted, most = tonumber(ARGV[1]), tonumber(ARGV[2])

local taken = 0
if redis.call('HGET', KEYS[1], 'second') == second then
  taken = tonumber(redis.call('HGET', KEYS[1], 'taken'))
end
local got = math.max(0, math.min(wanted, most - taken))
redis.call('HSET', KEYS[1], 'second', second, 'taken', taken + got)
redis.call('PEXPIRE', KEYS[1], 2000)
return got
