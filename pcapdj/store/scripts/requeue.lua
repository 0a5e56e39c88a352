-- REQUEUE: an operator feeds a file again. Not one of the five that move files by themselves.
--
-- KEYS 1 PROCESSED or FAILED, list   2 IN_QUEUE, list   3 BELL, channel
-- ARGV 1 entry in the list   2 name
-- Returns 1 | 0 the entry is not there (any more)

if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PUBLISH', KEYS[3], 'queued')
return 1
