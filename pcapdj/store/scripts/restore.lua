-- RESTORE: register a dispatcher, and write down again the file that it has taken, where Redis has lost them.
--
-- KEYS 1 DISPATCHERS  set   the ids of the lane's dispatchers
--      2 CURRENT:id   hash  the file taken
--      3 STATS:id     hash  `finished` is the token of the file that was finished last, `forgotten` that of one
--                           that an operator has put back into the queue
--      4 IN_QUEUE     list  files to feed
--      5 QUEUED       hash  the field with the empty name has counts
-- ARGV 1 id           of this dispatcher
--      2 token        of the file that it has taken; empty: none
--      3 ..           fields and values of CURRENT
-- Returns {1 if the id was missing, 1 if the file was missing | 2 if it was finished before | 0, LLEN, counts}
--
-- A file that was put back before this dispatcher fed any of it is the next one's. One that is fed is written
-- down: so its result gets into the journal.

local function is_put_back()
    if redis.call('HGET', KEYS[3], 'forgotten') ~= ARGV[2] then
        return false
    end
    for index = 3, #ARGV, 2 do
        if ARGV[index] == 'state' then
            return ARGV[index + 1] == 'asked'
        end
    end
    return false
end

local added, restored = redis.call('SADD', KEYS[1], ARGV[1]), 0
if ARGV[2] ~= '' then
    local current = redis.call('HMGET', KEYS[2], 'token', 'name')
    if redis.call('HGET', KEYS[3], 'finished') == ARGV[2] then
        restored = 2
    elseif not current[1] and not current[2] and not is_put_back() then
        redis.call('DEL', KEYS[2])  -- fields without a name: written after the loss
        redis.call('HSET', KEYS[2], unpack(ARGV, 3))
        restored = 1
    end
end
return {added, restored, redis.call('LLEN', KEYS[4]), redis.call('HGET', KEYS[5], '') or ''}
