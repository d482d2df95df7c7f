-- alarm_acknowledge: record that somebody has seen an alarm
-- alias  acknowledge_alarm
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, now ms
-- reply  the new state
-- errors INVALID, NOT_FOUND, CONFLICT (acknowledged before, or closed)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:alarms:closed_by_time w, alarmsrv:journal w
-- flags  allow-oom
local function alarm_acknowledge(keys, args)
  local namespace, id = split_key(keys)
  check_id('alarm id', id)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  local key = namespace .. 'alarmsrv:alarm:' .. id
  local state = redis.call('HGET', key, 'state')
  if not state then
    refuse('NOT_FOUND', 'no alarm ' .. shown(id))
  end
  local to = ({active_unacknowledged = 'active_acknowledged', cleared_unacknowledged = 'closed'})[state]
  if not to then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is ' .. state .. ': there is nothing to acknowledge')
  end
  redis.call('HSET', key, 'acknowledged_at', now, 'acknowledged_by', by)
  alarm_set_state(namespace, id, state, to, now, by)
  return to
end
