-- FINISH: the file taken is done with; move it to PROCESSED or FAILED and write it down.
--
-- KEYS 1 CURRENT:id   hash     the file taken
--      2 PROCESSED or FAILED, list
--      3 NEXT         list     a leftover announcement is dropped
--      4 FED          hash     path -> JSON
--      5 JOURNAL      stream   capped
--      6 BELL         channel
-- ARGV 1 token        of the taking
--      2 entry        for the list
--      3 fed          JSON for FED
--      4 cap          journal entries to keep, about
--      5 ..           fields and values of the journal entry
-- Returns 1 | 0 this taking is not (any more) current

local current = redis.call('HMGET', KEYS[1], 'token', 'name')
if current[1] ~= ARGV[1] then
    return 0
end
-- Each of these fails where another program has put something else: before anything is moved.
redis.call('LLEN', KEYS[2])
redis.call('LLEN', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('XLEN', KEYS[5])
-- DEL comes first: when memory is full Redis allows it, and then lets the script go on.
redis.call('DEL', KEYS[1])
redis.call('LREM', KEYS[3], 1, current[2])
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[4], current[2], ARGV[3])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
redis.call('PUBLISH', KEYS[6], 'finished')
return 1
