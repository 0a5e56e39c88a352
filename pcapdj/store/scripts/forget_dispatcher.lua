-- FORGET_DISPATCHER: remove a dispatcher that does not come back, for an operator.
--
-- KEYS 1 DISPATCHERS  set      the ids of the lane's dispatchers
--      2 CURRENT:id   hash     the file that it has taken
--      3 STATS:id     hash     its heartbeat; keeps the token of its file, if that is put back
--      4 SAMPLES:id   stream   how much it had read
--      5 SUSPEND      set      its own member
--      6 SKIP         hash     id -> the file that it was to give up
--      7 FINISHED     set      the dispatchers that have ended their stream
--      8 NEXT         list     the request for its file
--      9 AUTH         string or set, the authorization of its file
--     10 IN_QUEUE     list     files to feed: gets its file back, at the head
--     11 QUEUED       hash     name -> a line for each of its occurrences in IN_QUEUE
--     12 BELL         channel  wakes the other dispatchers
-- ARGV 1 id
--      2 member       of SUSPEND
--      3 heartbeat    as the caller has seen it; empty: none
--      4 1: put its file back into the queue
-- Returns {gone} it is not registered | {alive} it has reported since | {taken, name} it has a file, and nothing
-- was changed | {forgotten, name or ''}
-- Uses queued_lines.lua

local function remove_authorization(name)
    local kind = redis.call('TYPE', KEYS[9]).ok
    if kind == 'set' then
        redis.call('SREM', KEYS[9], name)
    elseif kind == 'string' and redis.call('GET', KEYS[9]) == name then
        redis.call('DEL', KEYS[9])
    end
end

local function put_back(name, text)
    local counts, lines = read_counts(KEYS[11]), redis.call('HGET', KEYS[11], name)
    redis.call('LPUSH', KEYS[10], name)
    add_line(KEYS[11], counts, name, nil, text)
    if lines then
        redis.call('HSET', KEYS[11], name, redis.call('HGET', KEYS[11], name) .. '\n' .. lines)
    end
    write_counts(KEYS[11], counts)
    redis.call('LREM', KEYS[8], 1, name)
    remove_authorization(name)
end

if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
    return {'gone'}
end
if (redis.call('HGET', KEYS[3], 'heartbeat_s') or '') ~= ARGV[3] then
    return {'alive'}
end
local current = redis.call('HMGET', KEYS[2], 'name', 'queued', 'token')
current[1] = current[1] and string.sub(current[1], 1, LONGEST_NAME)
if current[1] and ARGV[4] ~= '1' then
    return {'taken', current[1]}
end
-- Each of these fails where its key has another type: before anything is changed.
redis.call('HLEN', KEYS[6])
redis.call('LLEN', KEYS[8])
redis.call('LLEN', KEYS[10])
redis.call('HLEN', KEYS[11])
if current[1] then
    put_back(current[1], current[2] or '')
end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
if current[1] then  -- or the dispatcher, if it was only stopped, would take the file a second time
    redis.call('HSET', KEYS[3], 'forgotten', current[3] or '')
end
redis.call('SREM', KEYS[5], ARGV[2])
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('SREM', KEYS[7], ARGV[1])
redis.call('PUBLISH', KEYS[12], 'queued')
return {'forgotten', current[1] or ''}
