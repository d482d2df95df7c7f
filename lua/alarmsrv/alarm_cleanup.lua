-- alarm_cleanup: remove closed alarms by age and number; open ones always stay
-- alias  cleanup_old_alarms
-- KEYS   [{site}:]all
-- ARGV   now ms, closed before ms, how many closed alarms stay at most, how many to remove at most (1 to 1000)
-- reply  how many were removed
-- errors INVALID
-- keys   alarmsrv:alarm:{id} w, alarmsrv:alarms:closed_by_time w, alarmsrv:alarms:by_time w, alarmsrv:alarms:by_level:{level} w,
--   alarmsrv:alarms:by_source:{source} w
-- flags  allow-oom
local function alarm_cleanup(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  check_time('now', args[1])
  local before, stay = check_time('closed before', args[2]), check_integer('how many stay', args[3], 0, 9999999)
  local most = check_integer('how many to remove', args[4], 1, 1000)
  local prefix = namespace .. 'alarmsrv:alarms:'
  local ids = call('ZRANGEBYSCORE', prefix .. 'closed_by_time', '-inf', '(' .. before, 'LIMIT', 0, most)
  if #ids < most then
    local surplus = math.min(call('ZCARD', prefix .. 'closed_by_time') - stay, most)
    if surplus > #ids then
      ids = call('ZRANGE', prefix .. 'closed_by_time', 0, surplus - 1)
    end
  end
  for _, id in ipairs(ids) do
    local key = namespace .. 'alarmsrv:alarm:' .. id
    local level, source = unpack(call('HMGET', key, 'level', 'source'))
    call('DEL', key)
    call('SREM', prefix .. 'by_level:' .. (level or ''), id)
    call('SREM', prefix .. 'by_source:' .. (source or ''), id)
    call('ZREM', prefix .. 'by_time', id)
    call('ZREM', prefix .. 'closed_by_time', id)
  end
  return tostring(#ids)
end
