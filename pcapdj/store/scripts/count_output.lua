-- A part of FINISH: adds a file that was fed whole and at once to OUTPUT.
--
-- OUTPUT has a field `plain`, and one `compressed` for compressed files. Each has the last groups of files in a
-- row, the newest last, separated by a blank: INPUT/OUTPUT/FILES, in bytes and a count. The last group gets more
-- files until it has 1 MiB of input (GROUP_BYTES of disk/output_ratio.py).

local GROUP_BYTES, MOST_GROUPS, LONGEST = 1048576, 21, 2048  -- 20 are learned from, one is filled

-- Reports whether all of a file was fed, once: not again from its start, and not the rest of a file that grew.
local function is_whole(entry)
    for _, field in ipairs({'known_as', 'begin_bytes', 'earlier_streams'}) do
        if (entry[field] or '') ~= '' then
            return false
        end
    end
    return entry.verdict == 'processed' and entry.attempt == '1'
end

local function count_output(hash, parts, first, compression, output)
    local entry = {}
    for index = first, #parts, 2 do
        entry[parts[index]] = parts[index + 1]
    end
    local input, files = tonumber(entry.size_bytes or '') or 0, 1
    if input <= 0 or output == '' or not is_whole(entry) then
        return
    end
    local field, groups = compression == '' and 'plain' or 'compressed', {}
    if redis.call('HSTRLEN', hash, field) <= LONGEST then  -- a longer one is another program's
        for group in string.gmatch(redis.call('HGET', hash, field) or '', '%d+/%d+/%d+') do
            groups[#groups + 1] = group
        end
    end
    local inputs, outputs, count = string.match(groups[#groups] or '', '(%d+)/(%d+)/(%d+)')
    if inputs and tonumber(inputs) < GROUP_BYTES then
        groups[#groups] = nil
        input, output, files = input + inputs, output + outputs, files + count
    end
    groups[#groups + 1] = string.format('%.0f/%.0f/%.0f', input, output, files)
    redis.call('HSET', hash, field, table.concat(groups, ' ', math.max(1, #groups - MOST_GROUPS + 1)))
end
