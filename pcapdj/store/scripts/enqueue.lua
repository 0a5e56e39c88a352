-- ENQUEUE: queue files that are neither queued, current nor fed. Repeated after a lost reply it adds nothing.
--
-- KEYS 1 IN_QUEUE      list     files to feed
--      2 QUEUED        hash     name -> a line for each of its occurrences in IN_QUEUE
--      3 DISPATCHERS   set      the ids of the CURRENT hashes
--      4 FED           hash     path -> JSON about the file fed under it
--      5 FAILED        list     the entry of a file that is queued is removed
--      6 FAILED_NAMES  hash     name -> its entry
--      7 BELL          channel  wakes the dispatchers
--      8 .. CURRENT:id hash     the files that are fed now
-- ARGV 1 ids in DISPATCHERS, and these ids (see current_names.lua); then
--      1 fed limit     bytes of a value of FED that the caller reads
--      2 most          lines of a name
--      3 ..            for each file its name, the value of FED and what it is queued behind, by which the
--                      caller decided ('' for none), and its line. Behind another file of its name: the last
--                      SEQ in QUEUED, or the token of a CURRENT where QUEUED has no line of the name
-- Returns false: call again with the dispatchers of now | {}: compare queue and lines first | for each
-- file: 1 queued | 0 in the queue already | -1 current | -2 fed meanwhile | -4 too often in the queue
-- | -5 call again: the call would have taken too long | -6 its file is being removed (claim.lua)
-- Uses queued_lines.lua
-- Uses forget_failure.lua
-- Uses current_names.lua
-- Uses claimed.lua

local FIRST_CURRENT, SEARCHED = 8, 300000  -- entries of FAILED that one call looks through
local first = #KEYS - FIRST_CURRENT + 3
local fed_limit, most = tonumber(ARGV[first]), tonumber(ARGV[first + 1])

if not are_registered(KEYS[3], ARGV[1], FIRST_CURRENT) then
    return false
end
-- Each of these fails where its key has another type: before anything is queued.
local failures = redis.call('LLEN', KEYS[5])
redis.call('HLEN', KEYS[6])
local counts = read_counts(KEYS[2])
if redis.call('LLEN', KEYS[1]) - counts.sum ~= counts.surplus then
    return {}
end

local current = {}
for index = FIRST_CURRENT, #KEYS do
    local size = redis.pcall('HSTRLEN', KEYS[index], 'name')  -- an ACL may forbid it
    local name = (type(size) ~= 'number' or size <= LONGEST_NAME) and redis.call('HGET', KEYS[index], 'name')
    if name then
        current[name] = redis.call('HGET', KEYS[index], 'token') or true
    end
end

local function fed(name)  -- as READ_HASHES returned it
    local size, value = redis.pcall('HSTRLEN', KEYS[4], name), nil
    if type(size) ~= 'number' then
        value = redis.call('HGET', KEYS[4], name)
        size = value and #value or 0
    end
    if size > fed_limit then
        return '(' .. size .. ' bytes)'
    end
    return value or redis.call('HGET', KEYS[4], name) or ''
end

local answers, searches = {}, math.max(1, math.floor(SEARCHED / math.max(failures, 1)))

local function answer(name, seen_fed, behind, text)
    local lines = redis.call('HGET', KEYS[2], name)
    if lines and last_seq(lines) ~= behind then
        return 0
    elseif not lines and current[name] and current[name] ~= behind then
        return -1
    elseif fed(name) ~= seen_fed then
        return -2
    elseif is_claimed(seen_fed) then
        return -6
    elseif lines and count_lines(lines) >= most then
        return -4
    elseif searches == 0 and redis.call('HEXISTS', KEYS[6], name) == 1 then
        return -5
    end
    redis.call('RPUSH', KEYS[1], name)
    add_line(KEYS[2], counts, name, lines, text)
    if failures > 0 and forget_failure(KEYS[5], KEYS[6], name) then
        searches = searches - 1
    end
    return 1
end

local added = counts.sum
for index = first + 2, #ARGV, 4 do
    answers[#answers + 1] = answer(ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3])
end
if counts.sum > added then
    write_counts(KEYS[2], counts)
    redis.call('PUBLISH', KEYS[7], 'queued')
end
return answers
