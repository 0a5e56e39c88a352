-- BEGIN_PASS: request another pass of the file taken: the stream of the last one is over.
--
-- KEYS 1 CURRENT:id   hash  the file taken
-- ARGV 1 token        of this take
--      2 ended        the stream that its analyzer read to the end; empty for none
--      3 begin        where the file goes on after that stream
--      4 attempt      if it is fed again from where the last pass began
--      5 deaths       the same
-- Returns 1 it goes on behind the ended stream | 0 it is fed again | 0 not taken
--
-- Repeated after a lost reply it changes nothing: `stream` is empty then, and `begin` is what it was set to.

local current = redis.call('HMGET', KEYS[1], 'token', 'stream', 'begin')
if current[1] ~= ARGV[1] then
    return 0
end
local is_repeated = current[2] == '' and current[3] == ARGV[3]
if ARGV[2] ~= '' and (current[2] == ARGV[2] or is_repeated) then
    redis.call('HSET', KEYS[1], 'state', 'asked', 'stream', '', 'begin', ARGV[3])
    return 1
end
redis.call('HSET', KEYS[1], 'state', 'asked', 'stream', '', 'attempt', ARGV[4], 'deaths', ARGV[5])
return 0
