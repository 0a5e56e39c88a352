-- READ_SET: members of a set, each cut, and no more of them than the caller can hold.
--
-- KEYS 1 set
-- ARGV 1 longest      bytes of a member
--      2 most         members
--      3 ..           members that are among the returned ones if they are in the set
-- Returns the members
-- Uses set_members.lua

local first = {}
for index = 3, #ARGV do
    first[index - 2] = ARGV[index]
end
return members_of(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), first)
