-- alarm_tick: do what has become due for alarms: escalation, the ends of shelving, suppressions and chattering, summaries of a flood
-- KEYS   [{site}:]all
-- ARGV   now ms, how much to do at most (1 to 1000)
-- reply  how much was done, 1 when more is due
-- errors INVALID
-- keys   alarmsrv:due w, alarmsrv:alarms:by_level:{level} w, alarmsrv:order:level:{level} w, as alarm_unshelve, as alarm_unsuppress
-- flags  none

-- escalate takes one step with an alarm that nobody has acknowledged in time.
local function escalate(namespace, settings, id, now)
  local call, key = redis.call, namespace .. 'alarmsrv:alarm:' .. id
  local alarm = alarm_load(namespace, id)
  if not alarm or alarm.state ~= 'active_unacknowledged' or is_aside(alarm) then
    return
  end
  local steps, done = settings.steps[alarm.level] or {}, steps_taken(alarm)
  local step, following = steps[done + 1], steps[done + 2]
  if not step then
    return
  elseif is_covered(settings, alarm, now) then
    schedule_escalation(namespace, settings, alarm, now)
    return
  end
  if step.to == '' then
    call('HSET', key, 'steps', done + 1)
    alarm_moved(namespace, settings, alarm, 'escalate', alarm.state, alarm.state, now, 'alarmsrv', step.notify)
    notify_alarm(namespace, settings, 'escalation', alarm, now, step.notify)
    if following then
      call('ZADD', namespace .. 'alarmsrv:due', after(now, following.wait - step.wait), 'escalate:' .. id)
    end
    return
  end
  local from = alarm.level
  alarm.steps = ''
  call('HSET', key, 'steps', 0, 'escalated_from', alarm.escalated_from ~= '' and alarm.escalated_from or from)
  alarm_set_level(namespace, alarm, step.to)
  alarm_moved(namespace, settings, alarm, 'escalate', alarm.state, alarm.state, now, 'alarmsrv', from .. ' to ' .. step.to)
  notify_alarm(namespace, settings, 'escalation', alarm, now, step.notify)
  schedule_escalation(namespace, settings, alarm, now)
end

-- end_chatter says that a definition is quiet: each time that it becomes active
-- puts this off.
local function end_chatter(namespace, settings, definition, now)
  local call = redis.call
  local id = call('HGET', namespace .. 'alarmsrv:definitions', definition)
  local alarm = id and alarm_load(namespace, id)
  if not alarm or alarm.chattering == '' then
    return
  end
  call('HDEL', namespace .. 'alarmsrv:alarm:' .. id, 'chattering')
  if alarm.state ~= 'closed' then
    alarm_count(namespace, 'chattering', -1)
  end
  alarm_moved(namespace, settings, alarm, 'quiet', alarm.state, alarm.state, now, 'alarmsrv', '')
end

-- alarm_due does what one member of alarmsrv:due says, and for whom: "escalate:17".
local function alarm_due(namespace, member, now)
  local what, whom = string.match(member, '^(%a+):(.*)$')
  if what == 'suppression' then
    unsuppress(namespace, whom, now, 'alarmsrv')
    return
  end
  local settings = alarm_settings(namespace)
  if what == 'escalate' then
    escalate(namespace, settings, whom, now)
  elseif what == 'shelf' then
    unshelve(namespace, settings, whom, now, 'alarmsrv', 'expired')
  elseif what == 'release' then
    release(namespace, settings, whom, now)
  elseif what == 'chatter' then
    end_chatter(namespace, settings, whom, now)
  elseif what == 'flood' then
    send_summary(namespace, settings, now)
  end
end

local function alarm_tick(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  local now, most = check_time('now', args[1]), check_integer('how much', args[2], 1, 1000)
  local due = namespace .. 'alarmsrv:due'
  local members = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, most)
  for _, member in ipairs(members) do
    redis.call('ZREM', due, member)
    alarm_due(namespace, member, now)
  end
  return {tostring(#members), tostring(redis.call('ZCOUNT', due, '-inf', now) > 0 and 1 or 0)}
end
