-- TAKE: take the next file, or return the one taken before. Repeated after a lost reply it returns the same.
--
-- KEYS 1 IN_QUEUE     list    files to feed
--      2 CURRENT:id   hash    the file that this dispatcher has taken
--      3 FINISH       string  now | empty: the operator requests the end of the stream
--      4 STATE        string  DONE after the queue was drained; removed when a file is taken
--      5 DISPATCHERS  set     the ids of the lane's dispatchers
--      6 FINISHED     set     those of them that have ended their stream for the request in FINISH
-- ARGV 1 head | tail  the end of the queue to take from
--      2 token        of this take: distinguishes two takes of the same name
--      3 ended        the value of FINISH for which the stream has ended; empty for none
--      4 id           of this dispatcher
-- Returns {taken, field, value, ..} of CURRENT | {finish, value} | {empty}

if redis.call('HEXISTS', KEYS[2], 'name') == 0 then
    redis.call('DEL', KEYS[2])  -- fields without a name: written after a FLUSHALL
    local finish = redis.call('GET', KEYS[3])
    local is_over = not finish
    if finish and finish == ARGV[3] then
        redis.call('SADD', KEYS[6], ARGV[4])
        is_over = true
        for _, id in ipairs(redis.call('SMEMBERS', KEYS[5])) do
            is_over = is_over and redis.call('SISMEMBER', KEYS[6], id) == 1
        end
        finish = false
    elseif finish and redis.call('SISMEMBER', KEYS[6], ARGV[4]) == 1 then
        finish = false  -- until all have ended theirs, the request is for the others
    end
    if is_over then
        redis.call('DEL', KEYS[3], KEYS[6])
    end
    if finish == 'now' or (finish == 'empty' and redis.call('LLEN', KEYS[1]) == 0) then
        return {'finish', finish}
    end
    -- The pop comes first: when memory is full Redis allows it, and then the writes after it.
    local name = redis.call(ARGV[1] == 'tail' and 'RPOP' or 'LPOP', KEYS[1])
    if not name then
        return {'empty'}
    end
    if #name > 8192 then
        name = string.sub(name, 1, 8192)  -- longer than any path: opening it fails, and CURRENT stays small
    end
    redis.call('HSET', KEYS[2], 'name', name, 'state', 'asked', 'attempt', '1', 'deaths', '0', 'token', ARGV[2])
    redis.call('DEL', KEYS[4])
elseif redis.call('HEXISTS', KEYS[2], 'token') == 0 then
    redis.call('HSET', KEYS[2], 'state', 'asked', 'token', ARGV[2])  -- a name that another program put there
end
-- Only our fields. One that is longer than any value of ours is from another program, and is cut here, once.
local names = {'name', 'state', 'attempt', 'deaths', 'token', 'stream', 'begin'}
local answer, values = {'taken'}, redis.call('HMGET', KEYS[2], unpack(names))
for index, value in ipairs(values) do
    if value then
        if #value > 65536 or (#value > 8192 and names[index] ~= 'begin') then
            value = names[index] == 'begin' and '' or string.sub(value, 1, 8192)
            redis.call('HSET', KEYS[2], names[index], value)
        end
        answer[#answer + 1] = names[index]
        answer[#answer + 1] = value
    end
end
return answer
