-- LAST_LINES: the last line of queued names.
--
-- KEYS 1 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- ARGV 1 ..           names
-- Returns for each name its last line | false: it is not queued
-- Uses queued_lines.lua

local answer = {}
for index, name in ipairs(ARGV) do
    local lines = name ~= '' and redis.call('HGET', KEYS[1], name)
    answer[index] = lines and string.match(lines, '^.*\n(.*)$') or lines
end
return answer
