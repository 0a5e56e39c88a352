-- A part of other scripts: the lines of QUEUED, one for each occurrence of a name in IN_QUEUE, in their order.
--
-- A line is "SEQ TEXT": SEQ, a number of its own, grows with each change; TEXT is JSON, or empty for a name that
-- a foreign program pushed. The field with the empty name is "SUM SEQ SURPLUS": how many lines there are, the
-- last SEQ, and how many more names than lines the queue had after the last comparison of the two.

local LONGEST_NAME = 8192  -- bytes; a longer one is no file name
local MOST_DIGITS = 15  -- of a SEQ; a longer one is from another program

local function read_counts(hash)
    local sum, seq, surplus = string.match(redis.call('HGET', hash, '') or '', '^(%d+) (%d+) (%-?%d+)$')
    return {sum = tonumber(sum) or 0, seq = tonumber(seq) or 0, surplus = tonumber(surplus) or 0}
end

local function write_counts(hash, counts)
    counts.sum = math.max(counts.sum, 0)
    redis.call('HSET', hash, '', string.format('%.0f %.0f %.0f', counts.sum, counts.seq, counts.surplus))
end

local function add_line(hash, counts, name, lines, text)
    counts.sum, counts.seq = counts.sum + 1, counts.seq + 1
    local line = string.format('%.0f ', counts.seq) .. text
    redis.call('HSET', hash, name, lines and lines .. '\n' .. line or line)
end

local function last_seq(lines)
    local has_more = string.find(lines, '\n', 1, true)
    local seq = string.match(lines, has_more and '^.*\n([1-9]%d*) ' or '^([1-9]%d*) ')
    return seq and #seq <= MOST_DIGITS and seq or '0'
end

local function count_lines(lines)
    local _, breaks = string.gsub(lines, '\n', '\n')
    return breaks + 1
end
