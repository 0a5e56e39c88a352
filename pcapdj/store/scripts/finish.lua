-- FINISH: move the file taken to PROCESSED or FAILED, and record it in FED and JOURNAL.
--
-- KEYS 1 CURRENT:id   hash     the file taken
--      2 PROCESSED or FAILED, list
--      3 NEXT         list     the requests: that of this file is removed
--      4 FED          hash     path -> JSON
--      5 JOURNAL      stream   capped
--      6 BELL         channel  wakes who waits for the file
--      7 FAILED       list     an older entry of the file is removed
--      8 FAILED_NAMES hash     name -> its entry
--      9 CAPTURES     hash     digest -> a line of JSON for each fed capture that begins so, the newest last
--     10 STATS:id     hash     gets the token, and how much output there is so far
--     11 GATE         hash     how much output there is so far, as the controller has measured it
--     12 COUNTS       hash     sums over all files of the lane
--     13 OUTPUT       hash     input and output of the last files that were fed whole
-- ARGV 1 token        of this take
--      2 entry        for the list
--      3 fed          JSON for FED
--      4 cap          how many journal entries to keep, about
--      5 oldest       id of the oldest journal entry to keep, about
--      6 kind         processed | failed | lost: an entry of FAILED that stays while the file lives on
--      7 digests      for CAPTURES, separated by a blank; empty: nothing is written there
--      8 capture      its line
--      9 same         the part of a line by which it is about the same capture: such an older line is removed
--     10 ..           fields and values of the journal entry
-- Returns 1 finished | 0 this take is not current: finished before, or the keys were removed
-- Uses forget_failure.lua
-- Uses count_result.lua
-- Uses count_output.lua

local MOST_CAPTURES, MOST_BYTES = 16, 65536  -- of one digest

local function write_capture(hash, digest, capture, same)
    local lines, size = {capture}, #capture
    local old = {}
    for line in string.gmatch(redis.call('HGET', hash, digest) or '', '[^\n]+') do
        old[#old + 1] = line
    end
    for index = #old, 1, -1 do
        local line = old[index]
        size = size + #line + 1
        if #lines == MOST_CAPTURES or size > MOST_BYTES then
            break
        elseif not string.find(line, same, 1, true) then
            table.insert(lines, 1, line)
        end
    end
    redis.call('HSET', hash, digest, table.concat(lines, '\n'))
end

-- Returns by how much the log folder's disk filled since this dispatcher finished a file before; empty: unknown.
local function new_output(stats, gate)
    local now = redis.pcall('HGET', gate, 'output_bytes')
    local before = redis.call('HGET', stats, 'output_bytes')
    if type(now) ~= 'string' or not tonumber(now) then
        return ''
    end
    redis.call('HSET', stats, 'output_bytes', now)
    local grown = tonumber(now) - (tonumber(before or '') or math.huge)
    return grown >= 0 and string.format('%.0f', grown) or ''
end

local current = redis.call('HMGET', KEYS[1], 'token', 'name', 'compression')
if current[1] ~= ARGV[1] then
    return 0
end
-- Each of these fails where its key has another type: before anything is moved.
redis.call('LLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('XLEN', KEYS[5])
redis.call('LLEN', KEYS[7])
redis.call('HLEN', KEYS[8])
redis.call('HLEN', KEYS[9])
redis.call('HLEN', KEYS[10])
redis.call('HLEN', KEYS[12])
redis.call('HLEN', KEYS[13])
-- DEL comes first: when memory is full Redis allows it, and then the writes after it.
redis.call('DEL', KEYS[1])
redis.call('LREM', KEYS[3], 1, current[2])
if ARGV[6] ~= 'lost' then
    forget_failure(KEYS[7], KEYS[8], current[2])
end
redis.call('RPUSH', KEYS[2], ARGV[2])
if ARGV[6] == 'failed' then
    redis.call('HSET', KEYS[8], current[2], ARGV[2])
end
if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[4], current[2], ARGV[3])
end
for digest in string.gmatch(ARGV[7], '[^ ]+') do
    write_capture(KEYS[9], digest, ARGV[8], ARGV[9])
end
local output, compression = new_output(KEYS[10], KEYS[11]), current[3] or ''
redis.call(
    'XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*',
    'output_bytes', output, 'compression', compression, unpack(ARGV, 10)
)
redis.call('XTRIM', KEYS[5], 'MINID', '~', ARGV[5])
count_result(KEYS[12], ARGV, 10)
count_output(KEYS[13], ARGV, 10, compression, output)
redis.call('HSET', KEYS[10], 'finished', ARGV[1])
redis.call('PUBLISH', KEYS[6], 'finished')
return 1
