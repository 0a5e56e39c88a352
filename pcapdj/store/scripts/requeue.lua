-- REQUEUE: queue a processed or failed file again, for an operator.
--
-- KEYS 1 PROCESSED or FAILED, list
--      2 IN_QUEUE     list     files to feed
--      3 BELL         channel  wakes the dispatchers
-- ARGV 1 entry        in the first list
--      2 name
-- Returns 1 queued | 0 the entry is not in the list

if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PUBLISH', KEYS[3], 'queued')
return 1
