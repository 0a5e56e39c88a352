-- READ_SET: members of a set, each cut, and no more of them than the caller can hold.
--
-- KEYS 1 set
-- ARGV 1 longest      bytes of a member
--      2 most         members
--      3 ..           members that are among the returned ones if they are in the set
-- Returns the members

local longest, most, answer, seen = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, {}

local function add(member)
    if #answer < most and not seen[member] then
        seen[member] = true
        answer[#answer + 1] = string.sub(member, 1, longest)
    end
end

for index = 3, #ARGV do
    if redis.call('SISMEMBER', KEYS[1], ARGV[index]) == 1 then
        add(ARGV[index])
    end
end
local members = redis.pcall('SRANDMEMBER', KEYS[1], most)
if members.err then  -- an ACL may forbid it
    members = redis.call('SMEMBERS', KEYS[1])
end
for _, member in ipairs(members) do
    add(member)
end
return answer
