-- QUEUE_SIZE: how large the files at the head of the queue are, and when the first one was written.
--
-- KEYS 1 IN_QUEUE     list
--      2 QUEUED       hash   name -> a line for each of its occurrences: a number, a blank, JSON of the file
--                            with "identity": [dev, ino, size in bytes, mtime in ns]
-- ARGV 1 most         names that are looked at
-- Returns how many of them have a size, the sum of these in bytes, mtime in ns of the first with one (or empty)

local counted, sum, oldest = 0, 0, ''
for _, name in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
    local lines = #name <= 4095 and redis.call('HGET', KEYS[2], name) or ''
    local line = #lines <= 1048576 and string.match(lines, '^[^\n]*') or ''
    local size, mtime = string.match(line, '"identity": ?%[%d+, ?%d+, ?(%d+), ?(%d+)')
    if size and #size < 19 then
        counted = counted + 1
        sum = sum + tonumber(size)
        oldest = oldest ~= '' and oldest or mtime
    end
end
return {counted, string.format('%.0f', sum), oldest}
