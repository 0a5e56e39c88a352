-- LEAST_SAMPLES: the least of each value of a stream of samples, in each span of time.
--
-- KEYS 1 SAMPLES    stream   name -> a whole number, in each entry
-- ARGV 1 first      id of the first entry, or `(ID`
--      2 most       entries that are looked at
--      3 span       in ms: spans are counted from the epoch
-- Returns id of the last entry looked at (empty: there is none), then {span's number, name, least, its time in ms}

-- Other programs may write there, too: bytes of a name, names in all spans, bytes of these.
local LONGEST, MOST, left = 4200, 5000, 4194304

local answer, found = {''}, {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
    local time = string.match(entry[1], '^%d+')
    local span = string.format('%.0f', math.floor(tonumber(time) / ARGV[3]))
    for index = 1, #entry[2], 2 do
        local name, value = entry[2][index], entry[2][index + 1]
        if #name <= LONGEST and #value <= 18 and string.match(value, '^%d+$') then
            local key = span .. ' ' .. name
            local least = found[key]
            if least and tonumber(value) < tonumber(least[3]) then
                least[3], least[4] = value, time
            elseif not least and #answer <= MOST and left > #name then
                left = left - #name
                least = {span, name, value, time}
                found[key], answer[#answer + 1] = least, least
            end
        end
    end
    answer[1] = entry[1]
end
return answer
