-- ANNOUNCE: request the authorization of the file taken, unless NEXT holds the request already.
--
-- KEYS 1 CURRENT:id   hash     the file taken
--      2 NEXT         list     the requests: files to authorize
--      3 BELL         channel  wakes the controller
-- ARGV 1 token        of this take
--      2 ..           fields and values for CURRENT: what the controller has to know of the file
-- Returns 1 added | 0 in NEXT already, authorized already, or not taken

local current = redis.call('HMGET', KEYS[1], 'token', 'state', 'name')
if current[1] ~= ARGV[1] or current[2] ~= 'asked' then
    return 0
end
if redis.call('LPOS', KEYS[2], current[3]) then
    return 0
end
redis.call('RPUSH', KEYS[2], current[3])
if #ARGV > 1 then
    redis.call('HSET', KEYS[1], unpack(ARGV, 2))
end
redis.call('PUBLISH', KEYS[3], 'announced')
return 1
