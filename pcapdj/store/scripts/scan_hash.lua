-- SCAN_HASH: some fields of a hash with their values.
--
-- KEYS 1 hash
-- ARGV 1 cursor       0: from the beginning
--      2 count        of fields, about
--      3 longest      bytes of a field and its value; a longer one is left out
-- Returns {the next cursor, 0 after the last fields, field, value, ..}

local cursor, found = unpack(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
local answer = {cursor}
for index = 1, #found, 2 do
    if #found[index] + #found[index + 1] <= tonumber(ARGV[3]) then
        answer[#answer + 1] = found[index]
        answer[#answer + 1] = found[index + 1]
    end
end
return answer
