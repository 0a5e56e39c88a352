-- ANNOUNCE: ask for an authorization, unless it is asked for already.
--
-- KEYS 1 CURRENT:id   hash     the file taken
--      2 NEXT         list     the files asked for
--      3 BELL         channel  wakes the controller
-- ARGV 1 token        of the taking
-- Returns 1 if it was added, 0 if it stood there already or is not asked for any more

local current = redis.call('HMGET', KEYS[1], 'token', 'state', 'name')
if current[1] ~= ARGV[1] or current[2] ~= 'asked' then
    return 0
end
if redis.call('LPOS', KEYS[2], current[3]) then
    return 0
end
redis.call('RPUSH', KEYS[2], current[3])
redis.call('PUBLISH', KEYS[3], 'announced')
return 1
