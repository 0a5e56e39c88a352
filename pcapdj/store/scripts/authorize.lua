-- AUTHORIZE: consume the authorization of the file taken, if there is one.
--
-- KEYS 1 CURRENT:id   hash           the file taken
--      2 AUTH         string or set  the authorization
--      3 NEXT         list           the requests: that of this file is removed
--      4 BELL         channel        wakes the controller: AUTH, a string, is free for the next request
-- ARGV 1 token        of this take
-- Returns {1} authorized (now or before) | {0} not yet | {0, name} AUTH holds another name | {-1} not taken

local current = redis.call('HMGET', KEYS[1], 'token', 'state', 'name')
if current[1] ~= ARGV[1] then
    return {-1}
end
if current[2] ~= 'asked' then
    return {1}
end
redis.call('LLEN', KEYS[3])  -- fails where NEXT has another type: before anything is consumed
local form = redis.call('TYPE', KEYS[2]).ok
if form == 'set' then
    if redis.call('SREM', KEYS[2], current[3]) == 0 then
        return {0}
    end
elseif form == 'string' then
    local size = redis.pcall('STRLEN', KEYS[2])  -- an ACL may forbid it
    if type(size) == 'number' and size > 8192 then
        return {0, '(' .. size .. ' bytes)'}
    end
    local held = redis.call('GET', KEYS[2])
    if held ~= current[3] then
        return {0, string.sub(held, 1, 8192)}
    end
    redis.call('DEL', KEYS[2])
else
    return {0}
end
redis.call('LREM', KEYS[3], 1, current[3])
redis.call('HSET', KEYS[1], 'state', 'authorized')
if form == 'string' and redis.call('LLEN', KEYS[3]) > 0 then
    redis.call('PUBLISH', KEYS[4], 'consumed')
end
return {1}
