-- A part of other scripts: whether a record in FED is claimed, since its file is being removed (claim.lua).
--
-- In JSON a quote inside a text has a backslash before it, so no file name looks like the field.

local function is_claimed(record)
    return string.find(record or '', '"reclaiming": ', 1, true) ~= nil
end
