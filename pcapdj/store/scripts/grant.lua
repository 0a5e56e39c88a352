-- GRANT: authorize a requested file.
--
-- KEYS 1 NEXT          list           the requests: files to authorize
--      2 AUTH          string or set  the authorization
--      3 DISPATCHERS   set            the ids of the dispatchers: one may wait for what AUTH holds now
--      4 BELL          channel        wakes the dispatcher
--      5 .. CURRENT:id hash           the files taken
-- ARGV 1 ids in DISPATCHERS, and these ids (see current_names.lua); then
--      1 name
--      2 string | set  the type of a new AUTH; an existing one keeps its type
-- Returns 1 granted | 0 not requested | -1 AUTH holds another name that a dispatcher still waits for
-- | false: call again with the dispatchers of now
-- Uses current_names.lua

local FIRST_CURRENT = 5
local name, new_form = ARGV[#KEYS - FIRST_CURRENT + 3], ARGV[#KEYS - FIRST_CURRENT + 4]

if not redis.call('LPOS', KEYS[1], name) then
    return 0
end
local form = redis.call('TYPE', KEYS[2]).ok
if form == 'none' then
    form = new_form
elseif form == 'string' then
    local held = redis.call('GET', KEYS[2])
    if held ~= name then
        if not are_registered(KEYS[3], ARGV[1], FIRST_CURRENT) then
            return false
        end
        for index = FIRST_CURRENT, #KEYS do
            local current = redis.call('HMGET', KEYS[index], 'name', 'state')
            if current[1] == held and current[2] == 'asked' then
                return -1
            end
        end
    end
end
redis.call('LREM', KEYS[1], 1, name)
if form == 'set' then
    redis.call('SADD', KEYS[2], name)
else
    redis.call('SET', KEYS[2], name)
end
redis.call('PUBLISH', KEYS[4], 'granted')
return 1
