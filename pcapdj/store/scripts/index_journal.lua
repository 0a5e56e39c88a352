-- INDEX_JOURNAL: note what the next entries of the journal have in common, so that a search can skip them.
--
-- KEYS 1 JOURNAL        stream
--      2 JOURNAL_INDEX  stream  an entry for each part of the journal, with the id of the part's last entry
-- ARGV 1 entries        of one part
-- Returns 1 a part was noted | 0 there are not so many entries behind the last part
--
-- Entries are only added behind all others. So a part never changes, whoever wrote it, but for what is removed.
-- The last entry of the newest part shows that the journal is still the one of all parts.

local MOST_WORDS, LONGEST = 50, 64  -- streams of one part, and bytes of a word
local count = tonumber(ARGV[1])

-- Returns a function that adds a word to a set, and one that returns the set as text; '*': it may have any word.
local function word_set()
    local words, seen, has_any = {}, {}, false
    local function add(word)
        if #word > LONGEST or not string.find(word, '^[%w_.:-]*$') then
            has_any = true
        elseif word ~= '' and not seen[word] then
            seen[word] = true
            words[#words + 1] = word
        end
    end
    local function text()
        return (has_any or #words > MOST_WORDS) and '*' or table.concat(words, ' ')
    end
    return add, text
end

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local after = newest and newest[1]
-- Without that entry the journal may be another one: it was removed, and a clock set back since.
local known = after and redis.pcall('XRANGE', KEYS[1], after, after) or {}
if after and #known == 0 and not known.err then
    redis.call('DEL', KEYS[2])
    after = nil
end
local entries = redis.pcall('XRANGE', KEYS[1], '(' .. (after or '0-0'), '+', 'COUNT', count)
if entries.err or #entries < count then  -- an ACL may forbid it: searches read the whole journal then
    return 0
end

local add_stream, streams = word_set()
local add_verdict, verdicts = word_set()
local earliest, latest
for _, entry in ipairs(entries) do
    local fields = {}
    for index = 1, #entry[2], 2 do
        fields[entry[2][index]] = entry[2][index + 1]
    end
    add_stream(fields.stream or '')
    for stream in string.gmatch(fields.earlier_streams or '', '"([^"]*)"') do
        add_stream(stream)
    end
    add_verdict(fields.verdict or '')
    local first, last = tonumber(fields.first_ts_ns or ''), tonumber(fields.last_ts_ns or '')
    if first and last then
        local step_back = tonumber(fields.largest_step_back_ns or '') or 0
        earliest = math.min(earliest or math.huge, first - step_back, last - step_back)
        latest = math.max(latest or -math.huge, first + step_back, last + step_back)
    end
end
local function number(value)
    return value and string.format('%.0f', value) or ''
end
redis.call('XADD', KEYS[2], entries[#entries][1], 'after', after or '0-0', 'entries', #entries, 'streams', streams(),
    'verdicts', verdicts(), 'earliest_ns', number(earliest), 'latest_ns', number(latest))
redis.call('XTRIM', KEYS[2], 'MINID', redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1])
return 1
