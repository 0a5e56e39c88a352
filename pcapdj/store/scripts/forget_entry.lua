-- FORGET_ENTRY: remove an entry of FAILED that is in no other key: it is about a lost capture.
--
-- KEYS 1 FAILED        list  entries
-- ARGV 1 entry
-- Returns 1 removed | 0 it is not there
-- Uses forget_failure.lua

return math.min(1, remove_entry(KEYS[1], ARGV[1], time_of))
