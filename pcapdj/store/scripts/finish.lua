-- FINISH: move the file taken to PROCESSED or FAILED, and record it in FED and JOURNAL.
--
-- KEYS 1 CURRENT:id   hash     the file taken
--      2 PROCESSED or FAILED, list
--      3 NEXT         list     the requests: that of this file is removed
--      4 FED          hash     path -> JSON
--      5 JOURNAL      stream   capped
--      6 BELL         channel  wakes who waits for the file
-- ARGV 1 token        of this take
--      2 entry        for the list
--      3 fed          JSON for FED
--      4 cap          how many journal entries to keep, about
--      5 ..           fields and values of the journal entry
-- Returns 1 finished | 0 this take is not current: finished before, or the keys were removed

local current = redis.call('HMGET', KEYS[1], 'token', 'name')
if current[1] ~= ARGV[1] then
    return 0
end
-- Each of these fails where its key has another type: before anything is moved.
redis.call('LLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('XLEN', KEYS[5])
-- DEL comes first: when memory is full Redis allows it, and then the writes after it.
redis.call('DEL', KEYS[1])
redis.call('LREM', KEYS[3], 1, current[2])
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[4], current[2], ARGV[3])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
redis.call('PUBLISH', KEYS[6], 'finished')
return 1
