-- A part of other scripts: members of a set, each cut, and no more of them than the caller can hold.

local function members_of(set, longest, most, first)
    local answer, seen = {}, {}
    local function add(member)
        if #answer < most and not seen[member] then
            seen[member] = true
            answer[#answer + 1] = string.sub(member, 1, longest)
        end
    end
    for _, member in ipairs(first) do
        if redis.call('SISMEMBER', set, member) == 1 then
            add(member)
        end
    end
    local members = redis.pcall('SRANDMEMBER', set, most)
    if members.err then  -- an ACL may forbid it
        members = redis.call('SMEMBERS', set)
    end
    for _, member in ipairs(members) do
        add(member)
    end
    return answer
end
