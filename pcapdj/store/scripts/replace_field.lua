-- REPLACE_FIELD: give a field of a hash another value, if it still has the one that the caller knows.
--
-- KEYS 1 hash
-- ARGV 1 field
--      2 known   the value that it has; empty: none
--      3 value   that it gets
-- Returns 1 replaced | 0 it has another value, or is gone

if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
