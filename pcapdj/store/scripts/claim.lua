-- CLAIM: mark the record of a fed file while the file is removed, unless its name is queued, current or failed.
--
-- KEYS 1 IN_QUEUE     list  files to feed
--      2 FED          hash  path -> JSON about the file fed under it
--      3 FAILED_NAMES hash  name -> its entry in FAILED
--      4 DISPATCHERS  set   the ids of the CURRENT hashes
--      5 .. CURRENT:id hash  the files that are fed now
-- ARGV 1 ids in DISPATCHERS, and these ids (see current_names.lua); then
--      1 name
--      2 known        the value of FED by which the caller decided; '' for none
--      3 value        that FED gets; '': it stays as it is
-- Returns false: call again with the dispatchers of now | 1 free, and marked | 0 FED has another value
-- | -1 queued | -2 current | -3 failed
-- The queue itself is searched: a name that another program pushed has no line beside it yet.
-- Uses current_names.lua

local FIRST_CURRENT = 5
if not are_registered(KEYS[4], ARGV[1], FIRST_CURRENT) then
    return false
end
local first = #KEYS - FIRST_CURRENT + 3
local name, known, value = ARGV[first], ARGV[first + 1], ARGV[first + 2]
for index = FIRST_CURRENT, #KEYS do
    if redis.call('HGET', KEYS[index], 'name') == name then
        return -2
    end
end
if redis.call('LPOS', KEYS[1], name) then
    return -1
elseif redis.call('HEXISTS', KEYS[3], name) == 1 then
    return -3
elseif (redis.call('HGET', KEYS[2], name) or '') ~= known then
    return 0
end
if value ~= '' then
    redis.call('HSET', KEYS[2], name, value)
end
return 1
