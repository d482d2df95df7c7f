-- alarm_cleanup: remove closed alarms by age and number; open ones always stay
-- alias  cleanup_old_alarms
-- KEYS   [{site}:]all
-- ARGV   now ms, closed before ms, how many closed alarms stay at most, how many to remove at most (1 to 1000)
-- reply  how many were removed
-- errors INVALID
-- keys   alarmsrv:alarm:{id} w, alarmsrv:definitions w, alarmsrv:order:closed w, alarmsrv:order:all w, alarmsrv:order:time w,
--   alarmsrv:order:source:{source} w,
--   alarmsrv:alarms:by_level:{level} w, alarmsrv:alarms:by_source:{source} w, alarmsrv:counts w
-- flags  allow-oom
local function alarm_cleanup(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  check_time('now', args[1])
  local before, stay = check_time('closed before', args[2]), check_integer('how many stay', args[3], 0, 9999999)
  local most = check_integer('how many to remove', args[4], 1, 1000)
  local prefix = namespace .. 'alarmsrv:'
  local ids = call('ZRANGEBYSCORE', prefix .. 'order:closed', '-inf', '(' .. before, 'LIMIT', 0, most)
  if #ids < most then
    local surplus = math.min(call('ZCARD', prefix .. 'order:closed') - stay, most)
    if surplus > #ids then
      ids = call('ZRANGE', prefix .. 'order:closed', 0, surplus - 1)
    end
  end
  for _, id in ipairs(ids) do
    local key = prefix .. 'alarm:' .. id
    local level, source, rule = unpack(call('HMGET', key, 'level', 'source', 'rule'))
    local definition = rule .. '|' .. source
    call('DEL', key)
    if call('HGET', prefix .. 'definitions', definition) == id then
      call('HDEL', prefix .. 'definitions', definition)
    end
    call('SREM', prefix .. 'alarms:by_level:' .. level, id)
    call('SREM', prefix .. 'alarms:by_source:' .. source, id)
    call('ZREM', prefix .. 'order:all', id)
    call('ZREM', prefix .. 'order:time', timed_member(id))
    call('ZREM', prefix .. 'order:source:' .. source, id)
    call('ZREM', prefix .. 'order:closed', id)
    alarm_count(namespace, 'closed:' .. level, -1)
  end
  return tostring(#ids)
end
