-- REQUEUE: queue processed or failed files again, for an operator: they are fed whole, whatever is known of them.
--
-- KEYS 1 PROCESSED or FAILED, list
--      2 IN_QUEUE      list     files to feed
--      3 QUEUED        hash     name -> a line for each of its occurrences in IN_QUEUE
--      4 FAILED        list     the entry of a file is removed, whichever list it is moved from
--      5 FAILED_NAMES  hash     name -> its entry
--      6 FED           hash     path -> JSON about the file fed under it: when it was
--      7 BELL          channel  wakes the dispatchers
-- ARGV 1 line          for QUEUED
--      2 mark          a text that is no entry
--      3 ..            for each file its entry in the first list, and its name
-- Returns for each file: 1 queued | 0 the entry is not in the list | -5 call again: the call would have taken too
-- long | -6 its file is being removed (claim.lua)
-- Uses queued_lines.lua
-- Uses forget_failure.lua
-- Uses claimed.lua

--
-- To find an entry Redis has to compare all from one end of the list up to it, and to remove it once more. Files
-- that were fed one after the other stand so in the list: behind an entry the next one is looked for first. All
-- that are found get a mark, a text that is no entry, inside this call only, and are removed by one walk.

local SEARCHED = 300000  -- entries of a list that one call looks through
redis.call('LLEN', KEYS[2])  -- fails where it has another type: before anything is moved
local counts, answers, moved = read_counts(KEYS[3]), {}, 0
local length = redis.call('LLEN', KEYS[1])
local searches = math.max(1, math.floor(SEARCHED / math.max(1, length)))
local mark, marked, deepest = ARGV[2], 0, 0
local last_place = -1

local function time_of_entry(entry)
    return time_of(KEYS[1] == KEYS[4] and entry or redis.call('HGET', KEYS[6], entry))
end

local function place_of(entry)
    for _, place in ipairs({last_place + 1, 0}) do
        if redis.call('LINDEX', KEYS[1], place) == entry then
            return place
        end
    end
    if searches == 0 then
        return nil, -5
    end
    searches = searches - 1
    local place = redis.call('LPOS', KEYS[1], entry, 'RANK', is_in_second_half(KEYS[1], entry, time_of_entry) and -1 or 1)
    return place, 0
end

local function remove(entry)
    local place, answer = place_of(entry)
    if not place then
        return answer
    end
    redis.call('LSET', KEYS[1], place, mark)
    marked, deepest, last_place = marked + 1, math.max(deepest, place), place
    return 1
end

for index = 3, #ARGV, 2 do
    local entry, name = ARGV[index], ARGV[index + 1]
    local answer = is_claimed(redis.call('HGET', KEYS[6], name)) and -6 or remove(entry)
    if answer >= 0 and redis.call('HGET', KEYS[5], name) == entry then
        redis.call('HDEL', KEYS[5], name)
    end
    if answer == 1 then
        forget_failure(KEYS[4], KEYS[5], name)
        redis.call('RPUSH', KEYS[2], name)
        add_line(KEYS[3], counts, name, redis.call('HGET', KEYS[3], name), ARGV[1])
        moved = moved + 1
    end
    answers[#answers + 1] = answer
end
if marked > 0 then
    redis.call('LREM', KEYS[1], deepest < length / 2 and marked or -marked, mark)
end
if moved > 0 then
    write_counts(KEYS[3], counts)
    redis.call('PUBLISH', KEYS[7], 'queued')
end
return answers
