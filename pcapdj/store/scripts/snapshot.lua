-- SNAPSHOT: what a lane has at one instant. A transaction would do it, too, but Redis refuses one while it
-- has no memory for writes, and then `status` is needed.
--
-- KEYS 1 IN_QUEUE     list
--      2 PROCESSED    list
--      3 FAILED       list
--      4 STATE        text
--      5 FINISH       text
--      6 SUSPEND      set
--      7 ..           hashes
-- ARGV 1 text         bytes of STATE and FINISH
--      2 member       bytes of a member of SUSPEND
--      3 members      of SUSPEND
--      4 .. 6         the limits of the hashes
-- Returns the three lengths, STATE, FINISH, the members, the hashes, and why Redis takes no writes ('': it does)
-- Uses set_members.lua
-- Uses hash_fields.lua

-- To write nothing into a text changes nothing, and is refused as any write is; so may an ACL, which is no matter.
local function write_error()
    local answer = redis.pcall('SETRANGE', KEYS[4], 0, '')
    local text = type(answer) == 'table' and answer.err or ''
    for _, code in ipairs({'OOM', 'MISCONF', 'NOREPLICAS'}) do
        if string.find(text, code, 1, true) then
            return text
        end
    end
    return ''
end

local limits, answer = {}, {}
for index, limit in ipairs(ARGV) do
    limits[index] = tonumber(limit)
end
for index = 1, 3 do
    answer[index] = redis.call('LLEN', KEYS[index])
end
for index = 4, 5 do
    answer[index] = redis.call('GETRANGE', KEYS[index], 0, limits[1] - 1)
end
answer[6] = members_of(KEYS[6], limits[2], limits[3], {})
answer[7] = hashes_of({unpack(KEYS, 7)}, limits[4], limits[5], limits[6], {})
answer[8] = write_error()
return answer
