-- EDIT_QUEUE: remove occurrences of names from the queue, or move them to one of its ends, for an operator.
--
-- KEYS 1 IN_QUEUE     list     files to feed
--      2 QUEUED       hash     name -> a line for each of its occurrences in IN_QUEUE
--      3 FED          hash     path -> JSON about the file fed under it: a removed one is written there
--      4 JOURNAL      stream   gets an entry for each removed file
--      5 BELL         channel  wakes the dispatchers
-- ARGV 1 action       remove | first | last
--      2 mark         a text that is no name: it stands for what is removed, inside this call only
--      3 ..           for each occurrence its name, its place when the caller looked (-1: unknown), the value
--                     that FED gets ('' for none), 1: the journal gets an entry, and its size ('' unknown)
-- Returns {} : compare queue and lines first | for each: 1 done | 0 it is not in the queue
-- Uses queued_lines.lua
--
-- Dispatchers take names from the head meanwhile: an occurrence is at most some places before where it was.
-- All marks are removed at once, from the nearer end: a call costs one walk through the queue at most.

local SHIFT, MOST_READ = 200, 3000
local action, mark = ARGV[1], ARGV[2]
local counts = read_counts(KEYS[2])
if redis.call('LLEN', KEYS[1]) - counts.sum ~= counts.surplus then
    return {}
end
redis.call('HLEN', KEYS[3])  -- each fails where its key has another type: before anything is changed
redis.call('XLEN', KEYS[4])

-- A place deep in the list costs a walk to it: all places of the call are read at once.
local lowest, highest
for index = 3, #ARGV, 5 do
    local seen = tonumber(ARGV[index + 1])
    if seen >= 0 then
        lowest, highest = math.min(lowest or seen, seen), math.max(highest or seen, seen)
    end
end
local names = {}
if lowest then
    lowest = math.max(0, lowest - SHIFT)
    highest = math.min(highest, lowest + MOST_READ)
    names = redis.call('LRANGE', KEYS[1], lowest, highest)
end
local shift = 0  -- how many names were taken from the head since the caller looked

local function place_of(name, seen)
    for back = shift, math.min(shift + SHIFT, seen) do
        local index = seen - back - (lowest or 0) + 1
        if names[index] == name then
            names[index] = false  -- each place is used once
            shift = back
            return seen - back
        end
    end
    local place = redis.call('LPOS', KEYS[1], name, 'RANK', action == 'last' and -1 or 1)
    if place and lowest then
        names[place - lowest + 1] = false
    end
    return place
end

local function drop_line(name)  -- of the first occurrence
    local lines = redis.call('HGET', KEYS[2], name)
    if not lines then
        counts.surplus = counts.surplus - 1
        return
    end
    local rest = string.match(lines, '^[^\n]*\n(.*)$')
    if rest then
        redis.call('HSET', KEYS[2], name, rest)
    else
        redis.call('HDEL', KEYS[2], name)
    end
    counts.sum, counts.seq = counts.sum - 1, counts.seq + 1
end

local function record(name, fed, is_in_journal, size)
    if fed ~= '' then
        redis.call('HSET', KEYS[3], name, fed)
    end
    if is_in_journal == '1' then
        redis.call('XADD', KEYS[4], '*', 'name', name, 'verdict', 'removed', 'stream', '', 'size_bytes', size,
            'reason', 'removed from the queue by the operator', 'packets', '0')
    end
end

local answers, found, deepest = {}, {}, 0
for index = 3, #ARGV, 5 do
    local name = ARGV[index]
    local place = place_of(name, tonumber(ARGV[index + 1]))
    answers[#answers + 1] = place and 1 or 0
    if place then
        redis.call('LSET', KEYS[1], place, mark)
        found[#found + 1] = name
        deepest = math.max(deepest, place)
        if action == 'remove' then
            drop_line(name)
            record(name, ARGV[index + 2], ARGV[index + 3], ARGV[index + 4])
        end
    end
end
if #found > 0 then
    local is_near_head = deepest < redis.call('LLEN', KEYS[1]) / 2
    redis.call('LREM', KEYS[1], is_near_head and #found or -#found, mark)
    for index = 1, #found do
        if action == 'first' then
            redis.call('LPUSH', KEYS[1], found[#found + 1 - index])
        elseif action == 'last' then
            redis.call('RPUSH', KEYS[1], found[index])
        end
    end
    write_counts(KEYS[2], counts)
    redis.call('PUBLISH', KEYS[5], 'queued')
end
return answers
