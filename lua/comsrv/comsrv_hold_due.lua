-- comsrv_hold_due: the points of which the safe value is due, those that have waited longest first
-- KEYS   [{site}:]all
-- ARGV   now ms, how many to leave out (0 to 1000000), how many at most (1 to 1000)
-- reply  channel, type, point and due ms for each
-- errors INVALID
-- keys   comsrv:holds r
-- flags  no-writes
local function comsrv_hold_due(keys, args)
  local namespace = split_key(keys)
  check_count(args, 3, 3)
  check_time('now', args[1])
  local skip = check_integer('how many to leave out', args[2], 0, 1000000)
  local count = check_integer('how many', args[3], 1, 1000)
  local due = redis.call('ZRANGEBYSCORE', namespace .. 'comsrv:holds', '-inf', args[1], 'WITHSCORES', 'LIMIT', skip, count)
  local reply = {}
  for i = 1, #due, 2 do
    for part in string.gmatch(due[i], '[^:]+') do
      reply[#reply + 1] = part
    end
    reply[#reply + 1] = due[i + 1]
  end
  return reply
end
