-- comsrv_read: value, source time and quality of points of one channel and type
-- KEYS   [{site}:]channel
-- ARGV   type, now ms, then 1 to 1000 points
-- reply  numbers (null if never read), source times ms, qualities (empty when all are good), each in the order asked
-- errors INVALID
-- keys   comsrv:{channel}:{type} r, comsrv:{channel}:{type}:ts r, comsrv:{channel}:{type}:q r,
--   comsrv:{channel}:{type}:g r, comsrv:{channel}:status r
-- flags  no-writes
local function comsrv_read(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 3, 1002)
  check_type(args[1])
  check_time('now', args[2])
  local points = {}
  for i = 3, #args do
    points[i - 2] = check_number_id('point', args[i])
  end
  return read_points(namespace, channel, args[1], points, args[2])
end
