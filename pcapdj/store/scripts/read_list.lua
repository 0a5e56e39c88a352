-- READ_LIST: a part of a list, each entry cut, and no more of them than the caller can hold.
--
-- KEYS 1 list
-- ARGV 1 longest      bytes of an entry
--      2 budget       bytes of all entries; at least one is returned
--      3 start        of the part
--      4 stop         of the part
-- Returns the first entries of the part

local longest, left, answer = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for index, entry in ipairs(redis.call('LRANGE', KEYS[1], ARGV[3], ARGV[4])) do
    entry = string.sub(entry, 1, longest)
    left = left - #entry
    if left < 0 and index > 1 then
        break
    end
    answer[index] = entry
end
return answer
