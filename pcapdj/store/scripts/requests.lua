-- REQUESTS: the files to authorize; entries that are no file names are removed.
--
-- KEYS 1 NEXT          list     the requests
--      2 .. CURRENT:id hash     of dispatchers: one that has a file is enough
-- ARGV 1 most          requests to read
--      2 name limit    bytes of a file name
-- Returns {names, lengths of the removed entries, 1 if a dispatcher has a file}

local names, removed, is_feeding = {}, {}, 0
for _, name in ipairs(redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
    if #name == 0 or #name > tonumber(ARGV[2]) then
        removed[#removed + 1] = #name
        redis.call('LREM', KEYS[1], 0, name)
    else
        names[#names + 1] = name
    end
end
for index = 2, #KEYS do
    is_feeding = math.max(is_feeding, redis.call('EXISTS', KEYS[index]))
end
return {names, removed, is_feeding}
