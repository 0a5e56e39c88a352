-- FORGET_LINES: remove the lines of names that are not in the queue any more.
--
-- KEYS 1 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- ARGV 1 ..           for each its name, and the number of its last line by which the caller decided
-- Returns the names whose lines were removed
-- Uses queued_lines.lua

local counts, removed = read_counts(KEYS[1]), {}
for index = 1, #ARGV, 2 do
    local lines = redis.call('HGET', KEYS[1], ARGV[index])
    if lines and last_seq(lines) == ARGV[index + 1] then
        redis.call('HDEL', KEYS[1], ARGV[index])
        counts.sum, counts.seq = counts.sum - count_lines(lines), counts.seq + 1
        removed[#removed + 1] = ARGV[index]
    end
end
if #removed > 0 then
    write_counts(KEYS[1], counts)
end
return removed
