-- READ_HASHES: fields of hashes; a value that is too long for the caller is not read.
--
-- KEYS 1 ..           hashes
-- ARGV 1 longest      bytes of a value; in place of a longer one stands "(NUMBER bytes)"
--      2 most         fields of one hash, where none are named
--      3 budget       bytes of all values; those behind it are left out
--      4 ..           the fields to read; none: all
-- Returns for each hash {field, value, ..}; a named field that is missing is left out
-- Uses hash_fields.lua

return hashes_of(KEYS, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), {unpack(ARGV, 4)})
