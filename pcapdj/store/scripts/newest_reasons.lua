-- NEWEST_REASONS: why the newest files of the journal failed.
--
-- KEYS 1 JOURNAL      stream
-- ARGV 1 most         entries
--      2 longest      bytes of a reason
-- Returns the reasons, the newest first; '' for a file that did not fail

local reasons = {}
for number, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])) do
    reasons[number] = ''
    for index = 1, #entry[2], 2 do
        if entry[2][index] == 'reason' then
            reasons[number] = string.sub(entry[2][index + 1], 1, tonumber(ARGV[2]))
        end
    end
end
return reasons
