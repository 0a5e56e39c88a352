-- ENQUEUE: queue files that are neither queued, current nor fed. Repeated after a lost reply it adds nothing.
--
-- KEYS 1 IN_QUEUE     list     files to feed
--      2 DISPATCHERS  set      the ids of the CURRENT hashes
--      3 FED          hash     path -> JSON about the file fed under it
--      4 BELL         channel  wakes the dispatchers
-- ARGV 1 prefix of the CURRENT keys
--      2 fed limit    bytes of a value of FED that the caller reads
--      3 .. for each file its name, and the value of FED by which the caller decided ('' for none)
-- Returns for each file: 1 queued | 0 in the queue already | -1 current | -2 fed meanwhile

local SEARCH_LIMIT = 16  -- names; for more, one table of the whole queue costs less than a search for each
local current, queued, answers, new = {}, nil, {}, {}

for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local size = redis.pcall('HSTRLEN', ARGV[1] .. id, 'name')  -- an ACL may forbid it
    local name = (type(size) ~= 'number' or size <= 8192) and redis.call('HGET', ARGV[1] .. id, 'name')
    if name then
        current[name] = true
    end
end
if #ARGV > 2 * SEARCH_LIMIT then
    queued = {}
    for _, name in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
        queued[name] = true
    end
end

local function is_queued(name)
    if queued then
        return queued[name]
    end
    return redis.call('LPOS', KEYS[1], name)
end

local function fed(name)  -- as READ_HASHES returned it
    local size, value = redis.pcall('HSTRLEN', KEYS[3], name), nil
    if type(size) ~= 'number' then
        value = redis.call('HGET', KEYS[3], name)
        size = value and #value or 0
    end
    if size > tonumber(ARGV[2]) then
        return '(' .. size .. ' bytes)'
    end
    return value or redis.call('HGET', KEYS[3], name) or ''
end

local function answer(name, seen)
    if is_queued(name) then
        return 0
    elseif current[name] then
        return -1
    elseif fed(name) ~= seen then
        return -2
    end
    new[#new + 1] = name
    return 1
end

for index = 3, #ARGV, 2 do
    answers[#answers + 1] = answer(ARGV[index], ARGV[index + 1])
end
if #new > 0 then
    redis.call('RPUSH', KEYS[1], unpack(new))
    redis.call('PUBLISH', KEYS[4], 'queued')
end
return answers
