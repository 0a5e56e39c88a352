-- READ_STREAM: entries of a stream; a value that is too long for the caller is not sent.
--
-- KEYS 1 stream
-- ARGV 1 longest      bytes of a field or value; in place of a longer value stands "(NUMBER bytes)"
--      2 budget       bytes of all entries; those behind it are left out, but for the first
--      3 most         entries
--      4 first        id of the first entry, `-` or `(ID`; with `newest` the last one, `+` or `(ID`
--      5 order        oldest | newest: which comes first
-- Returns {id, {field, value, ..}} for each entry; entries that are left out are in none of them

local longest, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local entries
if ARGV[5] == 'newest' then
    entries = redis.call('XREVRANGE', KEYS[1], ARGV[4], '-', 'COUNT', ARGV[3])
else
    entries = redis.call('XRANGE', KEYS[1], ARGV[4], '+', 'COUNT', ARGV[3])
end

local answer = {}
for number, entry in ipairs(entries) do
    local pairs_sent = {}
    for index = 1, #entry[2], 2 do
        local field, value = entry[2][index], entry[2][index + 1]
        if #field <= longest then
            if #value > longest then
                value = '(' .. #value .. ' bytes)'
            end
            left = left - #field - #value
            pairs_sent[#pairs_sent + 1] = field
            pairs_sent[#pairs_sent + 1] = value
        end
    end
    if left < 0 and number > 1 then
        break
    end
    answer[number] = {entry[1], pairs_sent}
end
return answer
