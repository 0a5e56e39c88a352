-- REQUESTS: the files to authorize; entries that are no file names are removed.
--
-- KEYS 1 NEXT          list     the requests
--      2 DISPATCHERS   set      the ids of the dispatchers
-- ARGV 1 prefix of the CURRENT keys
--      2 most          requests to read
--      3 name limit    bytes of a file name
--      4 ids           of dispatchers to look at: one that has a file is enough
-- Returns {names, lengths of the removed entries, 1 if a dispatcher has a file}

local names, removed, is_feeding = {}, {}, 0
for _, name in ipairs(redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
    if #name == 0 or #name > tonumber(ARGV[3]) then
        removed[#removed + 1] = #name
        redis.call('LREM', KEYS[1], 0, name)
    else
        names[#names + 1] = name
    end
end
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[2], tonumber(ARGV[4]))) do
    is_feeding = math.max(is_feeding, redis.call('EXISTS', ARGV[1] .. id))
end
return {names, removed, is_feeding}
