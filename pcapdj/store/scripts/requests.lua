-- REQUESTS: the files to authorize; entries that are no file names are removed.
--
-- KEYS 1 NEXT          list     the requests
--      2 .. CURRENT:id hash     of dispatchers: the files that they have
-- ARGV 1 most          requests to read
--      2 name limit    bytes of a file name
--      3 ..            the fields of CURRENT to read; one that is longer than a name is left out
-- Returns {names, lengths of the removed entries, for each file that a dispatcher has {field, value, ..}}

local names, removed, files = {}, {}, {}
for _, name in ipairs(redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
    if #name == 0 or #name > tonumber(ARGV[2]) then
        removed[#removed + 1] = #name
        redis.call('LREM', KEYS[1], 0, name)
    else
        names[#names + 1] = name
    end
end

local function fields_of(key)
    local found = {}
    local values = redis.pcall('HMGET', key, unpack(ARGV, 3))  -- an error where it has another type
    for index = 3, values.err and 0 or #ARGV do
        local value = values[index - 2]
        if value and #value <= tonumber(ARGV[2]) then
            found[#found + 1] = ARGV[index]
            found[#found + 1] = value
        end
    end
    return found
end

for index = 2, #KEYS do
    if redis.call('EXISTS', KEYS[index]) == 1 then
        files[#files + 1] = fields_of(KEYS[index])
    end
end
return {names, removed, files}
