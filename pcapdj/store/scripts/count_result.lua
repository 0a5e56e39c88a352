-- A part of FINISH: adds a finished file to COUNTS, which only grows.
--
-- The sums are numbers of Lua, exact up to 2^53: eight petabytes.

local function count_result(hash, parts, first)
    local entry = {}
    for index = first, #parts, 2 do
        entry[parts[index]] = parts[index + 1]
    end
    local function add(field, number)
        local sum = tonumber(redis.call('HGET', hash, field) or '') or 0
        redis.call('HSET', hash, field, string.format('%.0f', sum + number))
    end
    if entry.known_as and entry.known_as ~= '' then
        add('known', 1)
    else
        add(entry.verdict == 'processed' and 'processed' or 'failed', 1)
    end
    if entry.failure then
        add('failed:' .. entry.failure, 1)
    end
    for field, of_journal in pairs({packets = 'packets', captured_bytes = 'cap_lengths', wire_bytes = 'lengths'}) do
        add(field, tonumber(entry[of_journal] or '') or 0)
    end
    for number in string.gmatch(entry.left_out or '', ': ?(%d+)') do
        add('left_out', tonumber(number))
    end
    if (entry.jump or '') ~= '' then
        add('jumps', 1)
    end
end
