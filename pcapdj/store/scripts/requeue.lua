-- REQUEUE: queue a processed or failed file again, for an operator: it is fed whole, whatever is known of it.
--
-- KEYS 1 PROCESSED or FAILED, list
--      2 IN_QUEUE      list     files to feed
--      3 QUEUED        hash     name -> a line for each of its occurrences in IN_QUEUE
--      4 FAILED        list     the entry of the file is removed, whichever list it is moved from
--      5 FAILED_NAMES  hash     name -> its entry
--      6 FED           hash     path -> JSON about the file fed under it: when it was
--      7 BELL          channel  wakes the dispatchers
-- ARGV 1 entry         in the first list
--      2 name
--      3 line          for QUEUED
-- Returns 1 queued | 0 the entry is not in the list
-- Uses queued_lines.lua
-- Uses forget_failure.lua

redis.call('LLEN', KEYS[2])  -- fails where it has another type: before anything is moved
local counts, lines = read_counts(KEYS[3]), redis.call('HGET', KEYS[3], ARGV[2])

local function when_fed(name)
    return time_of(redis.call('HGET', KEYS[6], name))
end

if redis.call('LINDEX', KEYS[1], 0) == ARGV[1] then
    redis.call('LPOP', KEYS[1])
elseif remove_entry(KEYS[1], ARGV[1], KEYS[1] == KEYS[4] and time_of or when_fed) == 0 then
    return 0
end
if redis.call('HGET', KEYS[5], ARGV[2]) == ARGV[1] then
    redis.call('HDEL', KEYS[5], ARGV[2])
else
    forget_failure(KEYS[4], KEYS[5], ARGV[2])
end
redis.call('RPUSH', KEYS[2], ARGV[2])
add_line(KEYS[3], counts, ARGV[2], lines, ARGV[3])
write_counts(KEYS[3], counts)
redis.call('PUBLISH', KEYS[7], 'queued')
return 1
