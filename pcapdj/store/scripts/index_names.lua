-- INDEX_NAMES: give names of a part of the queue that have no line an empty one: foreign programs pushed them.
--
-- KEYS 1 IN_QUEUE     list  files to feed
--      2 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- ARGV 1 start        of the part
--      2 stop         of the part
--      3 budget       bytes of the names that are returned; at least one is
-- Returns {LLEN, SUM, SEQ, SURPLUS, how many names got a line, names of the part from its end on}
-- Uses queued_lines.lua

local part = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
local counts, names, new, left = read_counts(KEYS[2]), {}, 0, tonumber(ARGV[3])
for index = #part, 1, -1 do
    local name = string.sub(part[index], 1, LONGEST_NAME)
    left = left - #name
    if left < 0 and #names > 0 then
        break
    end
    if name ~= '' and #part[index] <= LONGEST_NAME and redis.call('HEXISTS', KEYS[2], name) == 0 then
        add_line(KEYS[2], counts, name, nil, '')
        new = new + 1
    end
    names[#names + 1] = name
end
if new > 0 then
    write_counts(KEYS[2], counts)
end
return {redis.call('LLEN', KEYS[1]), counts.sum, counts.seq, counts.surplus, new, names}
