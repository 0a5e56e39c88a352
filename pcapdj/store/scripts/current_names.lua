-- A part of other scripts: the names in the CURRENT hashes, which are keys of the script.
--
-- The caller has read DISPATCHERS, and passes how many members it found (-1: more than it reads), the CURRENT
-- hashes as the last keys, and their ids as the arguments behind the number.

local function are_registered(dispatchers, count, first_key)
    if tonumber(count) >= 0 and redis.call('SCARD', dispatchers) ~= tonumber(count) then
        return false
    end
    for index = first_key, #KEYS do
        if redis.call('SISMEMBER', dispatchers, ARGV[index - first_key + 2]) == 0 then
            return false
        end
    end
    return true
end
