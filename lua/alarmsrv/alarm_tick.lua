-- alarm_tick: do what has become due for alarms: escalation, the ends of shelving, suppressions and chattering, summaries of a flood
-- KEYS   [{site}:]all
-- ARGV   now ms, how much to do at most (1 to 1000)
-- reply  how much was done, 1 when more is due
-- errors INVALID
-- keys   alarmsrv:due w, alarmsrv:alarms:by_level:{level} w, alarmsrv:order:level:{level} w, alarmsrv:order:active r, as alarm_unshelve,
--   as alarm_unsuppress
-- flags  none

local reschedule_batch = 100        -- alarms looked at in one go when the steps of escalation are others

-- escalate takes one step with an alarm that nobody has acknowledged in time.
local function escalate(namespace, settings, id, now)
  local call, key = redis.call, namespace .. 'alarmsrv:alarm:' .. id
  local alarm = alarm_load(namespace, id)
  if not alarm or alarm.state ~= 'active_unacknowledged' or is_aside(alarm) then
    return
  end
  local step, due = next_step(settings, alarm)
  if not step then
    return
  elseif tonumber(due) > tonumber(now) then -- the steps are others than when it was scheduled
    schedule_escalation(namespace, settings, alarm)
    return
  elseif is_covered(settings, alarm, now) then
    wait_anew(namespace, settings, alarm, now)
    return
  end
  if step.to == '' then
    alarm.waited = step.wait
    call('HSET', key, 'waited', step.wait)
    alarm_moved(namespace, settings, alarm, 'escalate', alarm.state, alarm.state, now, 'alarmsrv', step.notify)
    announce_escalation(namespace, settings, alarm, now, step.notify)
    schedule_escalation(namespace, settings, alarm)
    return
  end
  local from = alarm.level
  alarm.waited = ''
  call('HDEL', key, 'waited')
  call('HSET', key, 'escalated_from', alarm.escalated_from ~= '' and alarm.escalated_from or from)
  alarm_set_level(namespace, alarm, step.to)
  alarm_moved(namespace, settings, alarm, 'escalate', alarm.state, alarm.state, now, 'alarmsrv', from .. ' to ' .. step.to)
  announce_escalation(namespace, settings, alarm, now, step.notify)
  wait_anew(namespace, settings, alarm, now)
end

-- reschedule looks at active alarms after an id, and sets when each escalates by
-- steps that are others now. What is left to look at is due at once.
local function reschedule(namespace, settings, from)
  local call, due = redis.call, namespace .. 'alarmsrv:due'
  local ids = call('ZRANGEBYSCORE', namespace .. 'alarmsrv:order:active', '(' .. from, '+inf', 'LIMIT', 0, reschedule_batch)
  for _, id in ipairs(ids) do
    local alarm = alarm_load(namespace, id)
    call('ZREM', due, 'escalate:' .. id)
    if alarm.state == 'active_unacknowledged' then
      schedule_escalation(namespace, settings, alarm)
    end
  end
  if #ids == reschedule_batch then
    call('ZADD', due, 0, 'reschedule:' .. ids[#ids])
  end
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
  elseif what == 'reschedule' then
    reschedule(namespace, settings, whom)
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
