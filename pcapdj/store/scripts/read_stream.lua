-- READ_STREAM: entries of a stream; a value that is too long for the caller is not sent.
--
-- KEYS 1 stream
-- ARGV 1 longest      bytes of a field or value; in place of a longer value stands "(NUMBER bytes)"
--      2 budget       bytes of all entries; those behind it are left out, and fields of the first that are
--      3 most         entries that are looked at
--      4 first        id of the first entry, `-` or `(ID`; with `newest` the last one, `+` or `(ID`
--      5 order        oldest | newest: which comes first
--      6 field        only entries with this field ..
--      7 value        .. and this value; without the two: all
-- Returns id of the last entry looked at (empty: there is none), then {id, {field, value, ..}} for each entry

local MOST_FIELDS = 200  -- of an entry; those of other programs may have any number
local longest, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local entries
if ARGV[5] == 'newest' then
    entries = redis.call('XREVRANGE', KEYS[1], ARGV[4], '-', 'COUNT', ARGV[3])
else
    entries = redis.call('XRANGE', KEYS[1], ARGV[4], '+', 'COUNT', ARGV[3])
end

local function is_wanted(parts)
    if not ARGV[6] then
        return true
    end
    for index = 1, #parts, 2 do
        if parts[index] == ARGV[6] then
            return parts[index + 1] == ARGV[7]
        end
    end
    return false
end

local function shortened(parts)
    local sent = {}
    for index = 1, math.min(#parts, 2 * MOST_FIELDS), 2 do
        local field, value = parts[index], parts[index + 1]
        if #field <= longest and left >= 0 then
            if #value > longest then
                value = '(' .. #value .. ' bytes)'
            end
            left = left - #field - #value
            sent[#sent + 1] = field
            sent[#sent + 1] = value
        end
    end
    return sent
end

local answer = {''}
for _, entry in ipairs(entries) do
    if is_wanted(entry[2]) then
        local sent = shortened(entry[2])
        if left < 0 and #answer > 1 then
            break
        end
        answer[#answer + 1] = {entry[1], sent}
    end
    answer[1] = entry[1]
end
return answer
