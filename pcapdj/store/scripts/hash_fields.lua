-- A part of other scripts: fields of hashes; a value that is too long for the caller is not read.
--
-- The limits of `hashes_of` are the bytes of a value (in place of a longer one stands "(NUMBER bytes)"), the
-- fields of one hash where none are named, and the bytes of all values (those behind them are left out).

local function value_of(key, field, longest)
    local size, value = redis.pcall('HSTRLEN', key, field), nil
    if type(size) ~= 'number' then  -- an ACL may forbid it
        value = redis.call('HGET', key, field)
        size = value and #value or 0
    end
    if size > longest then
        return '(' .. size .. ' bytes)'
    end
    return value or redis.call('HGET', key, field)
end

-- Of a hash with more fields than that: some, by commands that neither go through all of it nor read values.
local function some_fields_of(key, most)
    local fields, cursor = {}, '0'
    repeat
        local page = redis.pcall('HSCAN', key, cursor, 'COUNT', most, 'NOVALUES')
        if page.err then  -- Redis before 7.4, or an ACL forbids it
            return redis.pcall('HRANDFIELD', key, most)
        end
        cursor = page[1]
        for _, field in ipairs(page[2]) do
            fields[#fields + 1] = field
        end
    until cursor == '0' or #fields >= most
    return fields
end

local function fields_of(key, most)
    local size = redis.pcall('HLEN', key)  -- an ACL may forbid it
    local is_long = type(size) == 'number' and size > most
    local fields = is_long and some_fields_of(key, most) or redis.pcall('HKEYS', key)
    if fields.err then  -- also these
        local pairs_found = redis.call('HGETALL', key)
        fields = {}
        for index = 1, #pairs_found, 2 do
            fields[#fields + 1] = pairs_found[index]
        end
    end
    return fields, math.min(#fields, most)
end

local function hashes_of(keys, longest, most, budget, named)
    local answers, left = {}, budget
    for number, key in ipairs(keys) do
        local fields, count = named, #named
        if count == 0 then
            fields, count = fields_of(key, most)
        end
        local answer = {}
        for index = 1, count do
            local field = fields[index]
            local value = #field <= longest and value_of(key, field, longest)
            if value then
                left = left - #value
            end
            if value and left >= 0 then
                answer[#answer + 1] = field
                answer[#answer + 1] = value
            end
        end
        answers[number] = answer
    end
    return answers
end
