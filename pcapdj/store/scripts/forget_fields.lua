-- FORGET_FIELDS: remove fields of a hash that still have the values by which the caller decided.
--
-- KEYS 1 hash
-- ARGV 1 ..           fields and values
-- Returns how many were removed

local removed = 0
for index = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[index]) == ARGV[index + 1] then
        removed = removed + redis.call('HDEL', KEYS[1], ARGV[index])
    end
end
return removed
