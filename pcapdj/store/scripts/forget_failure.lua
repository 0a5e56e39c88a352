-- A part of other scripts: removes the entry about a name from FAILED and from FAILED_NAMES.
--
-- FAILED_NAMES has the entry of each name. To find it in the list Redis has to compare entries one by one: it
-- begins at the nearer end, since entries stand in the order of their times.

local function time_of(entry)
    return tonumber(string.match(entry or '', '"time_s": ?([%d.]+)'))
end

local function is_in_second_half(list, entry, time)
    local middle = redis.call('LINDEX', list, math.floor(redis.call('LLEN', list) / 2))
    local middle_time = middle and time(middle)
    local entry_time = middle_time and time(entry)
    return entry_time and entry_time > middle_time
end

local function remove_entry(list, entry, time)
    return redis.call('LREM', list, is_in_second_half(list, entry, time) and -1 or 1, entry)
end

local function forget_failure(list, names, name)
    local entry = redis.call('HGET', names, name)
    if not entry then
        return false
    end
    redis.call('HDEL', names, name)
    remove_entry(list, entry, time_of)
    return true
end
