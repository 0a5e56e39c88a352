-- LAST_LINES: the last line of queued names.
--
-- KEYS 1 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- ARGV 1 ..           names
-- Returns for each name its last line, without the text of one that is too long | false: it is not queued
-- Uses queued_lines.lua

local LONGEST = 65536  -- bytes of a line; a longer one is from another program
local answer = {}
for index, name in ipairs(ARGV) do
    local lines = name ~= '' and redis.call('HGET', KEYS[1], name)
    local line = lines and string.match(lines, '^.*\n(.*)$') or lines
    answer[index] = line and #line > LONGEST and last_seq(lines) .. ' ' or line
end
return answer
