-- SCAN_JOURNAL: a part of the journal; of its entries those that fit are sent.
--
-- KEYS 1 JOURNAL      stream
-- ARGV 1 first        id of the first entry, `-` or `(ID`; with `newest` the last one, `+` or `(ID`
--      2 last         id of the last entry, `-` or `+`
--      3 order        oldest | newest: which comes first
--      4 most         entries that are looked at
--      5 longest      bytes of a value; in place of a longer one stands "(NUMBER bytes)"
--      6 stream       only files with packets in this stream; '' for all
--      7 verdict      only files with this verdict; '' for all
--      8 since        only files with packets at this time or later, in ns since 1970; '' for all
--      9 until        only files with packets at this time or earlier; '' for all
--     10 name         only files whose name ends so; '' for all
--     11 budget       bytes of all entries; those behind it are left out, and fields of the first that are
-- Returns {id of the last entry looked at, '' after the end; number looked at; for each that fits its id and
-- {field, value, ..}}
--
-- Numbers have 53 bits here: times are compared with a microsecond to spare. The caller compares again.

local SPARE = 1000
local MOST_FIELDS = 200  -- of an entry; those of other programs may have any number
local COMPARED = {name = true, verdict = true, stream = true, earlier_streams = true, first_ts_ns = true,
    last_ts_ns = true, largest_step_back_ns = true}
local since, until_ns = tonumber(ARGV[8]), tonumber(ARGV[9])

local function has_stream(fields)
    if fields.stream == ARGV[6] then
        return true
    end
    return string.find(fields.earlier_streams or '', '"' .. ARGV[6] .. '"', 1, true) ~= nil
end

local function has_time(fields)
    local first, last = tonumber(fields.first_ts_ns or ''), tonumber(fields.last_ts_ns or '')
    if not first or not last then
        return false
    end
    local spare = SPARE + (tonumber(fields.largest_step_back_ns or '') or 0)
    return (not since or math.max(first, last) + spare >= since)
        and (not until_ns or math.min(first, last) - spare <= until_ns)
end

local function fits(fields)
    return (ARGV[6] == '' or has_stream(fields)) and (ARGV[7] == '' or fields.verdict == ARGV[7])
        and (not (since or until_ns) or has_time(fields))
        and (ARGV[10] == '' or string.sub(fields.name or '', -#ARGV[10]) == ARGV[10])
end

local entries
if ARGV[3] == 'newest' then
    entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[4])
else
    entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[4])
end
local has_conditions = ARGV[6] ~= '' or ARGV[7] ~= '' or since or until_ns or ARGV[10] ~= ''
local longest, left, answer = tonumber(ARGV[5]), tonumber(ARGV[11]), {'', #entries}

local function shortened(values)
    local sent = {}
    for index = 1, math.min(#values, 2 * MOST_FIELDS), 2 do
        if left >= 0 then
            for place = index, index + 1 do
                local value = values[place]
                if #value > longest then
                    value = '(' .. #value .. ' bytes)'
                end
                left = left - #value
                sent[#sent + 1] = value
            end
        end
    end
    return sent
end

for number, entry in ipairs(entries) do
    local values = entry[2]
    local is_sent = not has_conditions
    if has_conditions then
        local fields = {}
        for index = 1, #values, 2 do
            if COMPARED[values[index]] then
                fields[values[index]] = values[index + 1]
            end
        end
        is_sent = fits(fields)
    end
    if is_sent then
        local sent = shortened(values)
        if left < 0 and #answer > 2 then
            answer[1], answer[2] = entries[number - 1][1], number - 1
            return answer
        end
        answer[#answer + 1] = entry[1]
        answer[#answer + 1] = sent
    end
end
if #entries == tonumber(ARGV[4]) then
    answer[1] = entries[#entries][1]
end
return answer
