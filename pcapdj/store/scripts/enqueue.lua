-- ENQUEUE: queue files that stand nowhere yet. Called again after a lost reply it queues nothing twice.
--
-- KEYS 1 IN_QUEUE     list     files to feed
--      2 DISPATCHERS  set      whose CURRENT to look at
--      3 FED          hash     path -> JSON of what was fed under it
--      4 BELL         channel  wakes the dispatchers
-- ARGV 1 prefix of the CURRENT keys
--      2 .. name, and what FED held of it when the caller decided ('' for nothing), for each file
-- Returns for each file: 1 queued | 0 it is in the queue already | -1 it is current | -2 it was fed meanwhile

local FEW = 16  -- for more names than this, one table of the whole queue costs less than a search for each
local current, queued, answers, new = {}, nil, {}, {}

for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local name = redis.call('HGET', ARGV[1] .. id, 'name')
    if name then
        current[name] = true
    end
end
if #ARGV > 2 * FEW then
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

local function answer(name, seen)
    if is_queued(name) then
        return 0
    elseif current[name] then
        return -1
    elseif (redis.call('HGET', KEYS[3], name) or '') ~= seen then
        return -2
    end
    new[#new + 1] = name
    return 1
end

for index = 2, #ARGV, 2 do
    answers[#answers + 1] = answer(ARGV[index], ARGV[index + 1])
end
if #new > 0 then
    redis.call('RPUSH', KEYS[1], unpack(new))
    redis.call('PUBLISH', KEYS[4], 'queued')
end
return answers
