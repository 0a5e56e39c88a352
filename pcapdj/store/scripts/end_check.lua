-- END_CHECK: note how many more names than lines the queue has, after a comparison of the two.
--
-- KEYS 1 IN_QUEUE     list  files to feed
--      2 QUEUED       hash  name -> a line for each of its occurrences in IN_QUEUE
-- Returns 1
-- Uses queued_lines.lua

local counts = read_counts(KEYS[2])
local surplus = redis.call('LLEN', KEYS[1]) - counts.sum
if surplus ~= counts.surplus then
    counts.surplus = surplus
    write_counts(KEYS[2], counts)
end
return 1
