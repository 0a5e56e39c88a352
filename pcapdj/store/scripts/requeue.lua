-- REQUEUE: queue processed or failed files again, for an operator: they are fed whole, whatever is known of them.
--
-- KEYS 1 PROCESSED or FAILED, list
--      2 IN_QUEUE      list     files to feed
--      3 QUEUED        hash     name -> a line for each of its occurrences in IN_QUEUE
--      4 FAILED        list     the entry of a file is removed, whichever list it is moved from
--      5 FAILED_NAMES  hash     name -> its entry
--      6 FED           hash     path -> JSON about the file fed under it: when it was
--      7 BELL          channel  wakes the dispatchers
-- ARGV 1 line          for QUEUED
--      2 ..            for each file its entry in the first list, and its name
-- Returns for each file: 1 queued | 0 the entry is not in the list | -5 call again: the call would have taken too
-- long | -6 its file is being removed (claim.lua)
-- Uses queued_lines.lua
-- Uses forget_failure.lua
-- Uses claimed.lua

local SEARCHED = 300000  -- entries of a list that one call looks through
redis.call('LLEN', KEYS[2])  -- fails where it has another type: before anything is moved
local counts, answers, moved = read_counts(KEYS[3]), {}, 0
local searches = math.max(1, math.floor(SEARCHED / math.max(1, redis.call('LLEN', KEYS[1]))))

local function when_fed(name)
    return time_of(redis.call('HGET', KEYS[6], name))
end

local function remove(entry)
    if redis.call('LINDEX', KEYS[1], 0) == entry then
        redis.call('LPOP', KEYS[1])
        return 1
    elseif searches == 0 then
        return -5
    end
    searches = searches - 1
    return math.min(1, remove_entry(KEYS[1], entry, KEYS[1] == KEYS[4] and time_of or when_fed))
end

for index = 2, #ARGV, 2 do
    local entry, name = ARGV[index], ARGV[index + 1]
    local answer = is_claimed(redis.call('HGET', KEYS[6], name)) and -6 or remove(entry)
    if answer >= 0 and redis.call('HGET', KEYS[5], name) == entry then
        redis.call('HDEL', KEYS[5], name)
    end
    if answer == 1 then
        forget_failure(KEYS[4], KEYS[5], name)
        redis.call('RPUSH', KEYS[2], name)
        add_line(KEYS[3], counts, name, redis.call('HGET', KEYS[3], name), ARGV[1])
        moved = moved + 1
    end
    answers[#answers + 1] = answer
end
if moved > 0 then
    write_counts(KEYS[3], counts)
    redis.call('PUBLISH', KEYS[7], 'queued')
end
return answers
