-- GRANT: authorize a requested file.
--
-- KEYS 1 NEXT          list           the requests: files to authorize
--      2 AUTH          string or set  the authorization
--      3 DISPATCHERS   set            the ids of the dispatchers: one may wait for what AUTH holds now
--      4 BELL          channel        wakes the dispatcher
-- ARGV 1 name
--      2 string | set  the type of a new AUTH; an existing one keeps its type
--      3 prefix of the CURRENT keys
-- Returns 1 granted | 0 not requested | -1 AUTH holds another name that a dispatcher still waits for

if not redis.call('LPOS', KEYS[1], ARGV[1]) then
    return 0
end
local form = redis.call('TYPE', KEYS[2]).ok
if form == 'none' then
    form = ARGV[2]
elseif form == 'string' then
    local held = redis.call('GET', KEYS[2])
    if held ~= ARGV[1] then
        for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
            local current = redis.call('HMGET', ARGV[3] .. id, 'name', 'state')
            if current[1] == held and current[2] == 'asked' then
                return -1
            end
        end
    end
end
redis.call('LREM', KEYS[1], 1, ARGV[1])
if form == 'set' then
    redis.call('SADD', KEYS[2], ARGV[1])
else
    redis.call('SET', KEYS[2], ARGV[1])
end
redis.call('PUBLISH', KEYS[4], 'granted')
return 1
