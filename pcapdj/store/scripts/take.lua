-- TAKE: what this dispatcher has to do next. Called again after a lost reply it answers the same.
--
-- KEYS 1 IN_QUEUE     list    files to feed
--      2 CURRENT:id   hash    the one file this dispatcher has taken
--      3 FINISH       string  now | empty: the operator wants the stream to end
--      4 STATE        string  DONE when a drained queue ended the work; removed when a file is taken
-- ARGV 1 head | tail  the end of the queue to take from
--      2 token        of this taking: tells two takings of one name apart
--      3 ended        the value of FINISH for which the stream has been ended; empty otherwise
-- Returns {taken, field, value, ..} of CURRENT | {finish, value} | {empty}

if redis.call('HEXISTS', KEYS[2], 'name') == 0 then
    redis.call('DEL', KEYS[2])  -- fields without a name: left by a writer that came after a FLUSHALL
    local wish = redis.call('GET', KEYS[3])
    if wish and wish == ARGV[3] then
        redis.call('DEL', KEYS[3])
        wish = false
    end
    if wish == 'now' or (wish == 'empty' and redis.call('LLEN', KEYS[1]) == 0) then
        return {'finish', wish}
    end
    -- The pop comes first: when memory is full Redis allows it, and then lets the script go on.
    local name = redis.call(ARGV[1] == 'tail' and 'RPOP' or 'LPOP', KEYS[1])
    if not name then
        return {'empty'}
    end
    if #name > 8192 then
        name = string.sub(name, 1, 8192)  -- longer than any path: refused when it is opened, and kept short here
    end
    redis.call('HSET', KEYS[2], 'name', name, 'state', 'asked', 'attempt', '1', 'deaths', '0', 'token', ARGV[2])
    redis.call('DEL', KEYS[4])
elseif redis.call('HEXISTS', KEYS[2], 'token') == 0 then
    redis.call('HSET', KEYS[2], 'state', 'asked', 'token', ARGV[2])  -- a name that somebody else put there
end
local fields = redis.call('HGETALL', KEYS[2])
table.insert(fields, 1, 'taken')
return fields
