-- SCAN_LINES: some queued names with the number of their last line.
--
-- KEYS 1 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- ARGV 1 cursor       0: from the beginning
--      2 count        of names, about
-- Returns {the next cursor, 0 after the last names, name, number, ..}; what is too long for a name is left out
-- Uses queued_lines.lua

local cursor, found = unpack(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
local answer = {cursor}
for index = 1, #found, 2 do
    if found[index] ~= '' and #found[index] <= LONGEST_NAME then
        answer[#answer + 1] = found[index]
        answer[#answer + 1] = last_seq(found[index + 1])
    end
end
return answer
