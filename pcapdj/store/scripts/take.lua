-- TAKE: take the next file, or return the one taken before. Repeated after a lost reply it returns the same.
--
-- KEYS 1 IN_QUEUE     list    files to feed
--      2 CURRENT:id   hash    the file that this dispatcher has taken
--      3 FINISH       string  now | empty: the operator requests the end of the stream
--      4 STATE        string  DONE after the queue was drained; removed when a file is taken
--      5 DISPATCHERS  set     the ids of the lane's dispatchers
--      6 FINISHED     set     those of them that have ended their stream for the request in FINISH
--      7 QUEUED       hash    name -> a line for each of its occurrences in IN_QUEUE: the taken one's is removed
--      8 FAILED       list    the entry of the file taken is removed
--      9 FAILED_NAMES hash    name -> its entry
-- ARGV 1 head | tail  the end of the queue to take from
--      2 token        of this take: distinguishes two takes of the same name
--      3 ended        the value of FINISH for which the stream has ended; empty for none
--      4 id           of this dispatcher
-- Returns {taken, field, value, ..} of CURRENT | {finish, value} | {empty}
-- Uses queued_lines.lua
-- Uses forget_failure.lua

local function take_line(hash, name)
    local counts = read_counts(hash)
    local lines = name ~= '' and #name <= LONGEST_NAME and redis.call('HGET', hash, name)
    if not lines then
        local is_compared = redis.call('LLEN', KEYS[1]) + 1 - counts.sum <= counts.surplus
        if is_compared and counts.surplus > 0 then
            counts.surplus = counts.surplus - 1  -- it was one of those that have no line of their own
            write_counts(hash, counts)
        end
        return ''
    end
    local rest, line
    if ARGV[1] == 'tail' then
        rest, line = string.match(lines, '^(.*)\n([^\n]*)$')
    else
        line, rest = string.match(lines, '^([^\n]*)\n(.*)$')
    end
    if rest then
        redis.call('HSET', hash, name, rest)
    else
        redis.call('HDEL', hash, name)
    end
    counts.sum, counts.seq = counts.sum - 1, counts.seq + 1
    write_counts(hash, counts)
    return string.match(line or lines, '^%d+ (.*)$') or ''
end

if redis.call('HEXISTS', KEYS[2], 'name') == 0 then
    redis.call('DEL', KEYS[2])  -- fields without a name: written after a FLUSHALL
    local finish = redis.call('GET', KEYS[3])
    local is_over = not finish
    if finish and finish == ARGV[3] then
        redis.call('SADD', KEYS[6], ARGV[4])
        -- More are no dispatchers: another program wrote them, and they never end a stream.
        is_over = redis.call('SCARD', KEYS[5]) <= 1000
        for _, id in ipairs(is_over and redis.call('SMEMBERS', KEYS[5]) or {}) do
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
    -- Each of these fails where its key has another type: before anything is taken.
    redis.call('HLEN', KEYS[7])
    redis.call('LLEN', KEYS[8])
    redis.call('HLEN', KEYS[9])
    -- The pop comes first: when memory is full Redis allows it, and then the writes after it.
    local name = redis.call(ARGV[1] == 'tail' and 'RPOP' or 'LPOP', KEYS[1])
    if not name then
        return {'empty'}
    end
    local line = take_line(KEYS[7], name)
    name = string.sub(name, 1, LONGEST_NAME)  -- opening a longer one fails, and CURRENT stays small
    redis.call('HSET', KEYS[2], 'name', name, 'state', 'asked', 'attempt', '1', 'deaths', '0', 'token', ARGV[2])
    if line ~= '' then
        redis.call('HSET', KEYS[2], 'queued', line)
    end
    redis.call('DEL', KEYS[4])
    forget_failure(KEYS[8], KEYS[9], name)
elseif redis.call('HEXISTS', KEYS[2], 'token') == 0 then
    redis.call('HSET', KEYS[2], 'state', 'asked', 'token', ARGV[2])  -- a name that another program put there
end
-- Only our fields. One that is longer than any value of ours is from another program, and is cut here, once.
local names = {'name', 'state', 'attempt', 'deaths', 'token', 'stream', 'begin', 'queued'}
local is_long = {begin = true, queued = true}
local answer, values = {'taken'}, redis.call('HMGET', KEYS[2], unpack(names))
for index, value in ipairs(values) do
    if value then
        if #value > 65536 or (#value > 8192 and not is_long[names[index]]) then
            value = is_long[names[index]] and '' or string.sub(value, 1, 8192)
            redis.call('HSET', KEYS[2], names[index], value)
        end
        answer[#answer + 1] = names[index]
        answer[#answer + 1] = value
    end
end
return answer
