-- comsrv_drop: remove the values of points that a channel no longer has
-- KEYS   [{site}:]channel
-- ARGV   type (T, S, C or A), point for each (1 to 1000)
-- reply  how many of them had a value
-- errors INVALID
-- keys   comsrv:{channel}:{type} w, comsrv:{channel}:{type}:ts w, comsrv:{channel}:{type}:q w, comsrv:{channel}:{type}:g w
-- flags  allow-oom
local function comsrv_drop(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 2, 1001)
  local hash = namespace .. 'comsrv:' .. channel .. ':' .. check_type(args[1])
  for i = 2, #args do
    check_number_id('point', args[i])
  end
  local dropped = redis.call('HDEL', hash, unpack(args, 2))
  for _, beside in ipairs({':ts', ':q', ':g'}) do
    redis.call('HDEL', hash .. beside, unpack(args, 2))
  end
  return tostring(dropped)
end
