-- INDEX_FAILURES: note failed files of an older version under their names; remove the outdated ones.
--
-- KEYS 1 FAILED        list  entries
--      2 FAILED_NAMES  hash  name -> its entry; the field with the empty name: all entries are noted
--      3 QUEUED        hash  the queued names
--      4 FED           hash  path -> JSON about the file fed under it
-- ARGV 1 is last       1: no entries come behind these | 0
--      2 ..            for each entry itself and its name, in the order of the list
-- Returns how many entries were removed
-- Uses forget_failure.lua

local removed = 0

local function remove(entry)
    removed = removed + redis.call('LREM', KEYS[1], 1, entry)
end

for index = 2, #ARGV, 2 do
    local entry, name = ARGV[index], ARGV[index + 1]
    local noted = redis.call('HGET', KEYS[2], name)
    local was_fed = string.find(redis.call('HGET', KEYS[4], name) or '', '"result": ?"processed"')
    if was_fed or redis.call('HEXISTS', KEYS[3], name) == 1 then
        remove(entry)
    elseif not noted or (time_of(noted) or 0) <= (time_of(entry) or 0) then
        redis.call('HSET', KEYS[2], name, entry)
        if noted and noted ~= entry then
            remove(noted)
        end
    else
        remove(entry)
    end
end
if ARGV[1] == '1' then
    redis.call('HSET', KEYS[2], '', '')
end
return removed
