-- comsrv_status: store the state of a channel; what is stored of poll groups that are not named, beside the default one, goes
-- KEYS   [{site}:]channel
-- ARGV   online (0 or 1), reason, errors, round trip us, stale after ms, now ms, then poll group and its own stale after ms
--   for each of at most 20 that have one
-- reply  OK
-- errors INVALID
-- keys   comsrv:{channel}:status w, comsrv:channels w
-- flags  none
local function comsrv_status(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 6, 46)
  if #args % 2 ~= 0 then
    refuse('INVALID', 'six values are expected, then poll group and stale after for each that has its own')
  end
  check_integer('online', args[1], 0, 1)
  check_text('reason', args[2], 0, 500)
  check_integer('errors', args[3], 0, 9999999999)
  check_integer('round trip', args[4], 0, 9999999999)
  check_integer('stale after', args[5], 0, 9999999999)
  check_time('now', args[6])
  local groups, named = {}, {default = true}
  for i = 7, #args, 2 do
    check_id('poll group', args[i])
    check_integer('stale after of poll group ' .. args[i], args[i + 1], 0, 9999999999)
    groups[#groups + 1] = 'stale_after_ms:' .. args[i]
    groups[#groups + 1] = args[i + 1]
    named[args[i]] = true
  end
  local status = namespace .. 'comsrv:' .. channel .. ':status'
  for _, field in ipairs(redis.call('HKEYS', status)) do
    local group = string.match(field, '^group:(.*)$') or string.match(field, '^stale_after_ms:(.*)$')
    if group and not named[group] then
      redis.call('HDEL', status, field)
    end
  end
  redis.call('HSET', status, 'online', args[1], 'reason', args[2], 'errors', args[3],
    'round_trip_us', args[4], 'stale_after_ms', args[5], 'updated', args[6], unpack(groups))
  redis.call('SADD', namespace .. 'comsrv:channels', channel)
  return redis.status_reply('OK')
end
