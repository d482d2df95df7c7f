-- The life cycle of alarms (ISA-18.2): raise, clear, acknowledge. Rules inside
-- comsrv_ingest and the alarm functions go through here, so that indexes and
-- journal always follow.

local journal_limit = 100000        -- transitions kept

local alarm_fields = {'source', 'rule', 'level', 'title', 'description', 'state', 'value', 'occurrences',
  'raised_at', 'last_at', 'cleared_at', 'acknowledged_at', 'acknowledged_by'}

-- alarm_row returns the 14 texts that describe one alarm, nil if there is none.
local function alarm_row(namespace, id)
  local fields = redis.call('HMGET', namespace .. 'alarmsrv:alarm:' .. id, unpack(alarm_fields))
  if not fields[1] then
    return nil
  end
  local row = {id}
  for i = 1, #alarm_fields do
    row[i + 1] = fields[i] or ''
  end
  return row
end

local function check_level(level)
  if level ~= 'Critical' and level ~= 'Major' and level ~= 'Minor' and level ~= 'Warning' and level ~= 'Info' then
    refuse('INVALID', 'unknown alarm level ' .. shown(tostring(level)) .. ': use Critical, Major, Minor, Warning or Info')
  end
  return level
end

-- check_alarm_source accepts what an alarm is about: a point, a model, a device.
local function check_alarm_source(source)
  if #source > 200 or not string.find(source, '^%w[%w_.:%-]*$') then
    refuse('INVALID', 'source ' .. shown(source) .. ": use 1 to 200 letters, digits, '_', '-', '.' or ':'")
  end
  return source
end

-- alarm_moved writes the journal entry of a transition and tells the screens.
local function alarm_moved(namespace, id, from, to, now, by)
  local call, encode = redis.call, cjson.encode
  local alarm = call('HMGET', namespace .. 'alarmsrv:alarm:' .. id, 'level', 'source', 'title')
  call('XADD', namespace .. 'alarmsrv:journal', 'MAXLEN', '~', journal_limit, '*',
    'alarm', id, 'from', from, 'to', to, 'time', now, 'by', by)
  call('PUBLISH', namespace .. 'alarmsrv:new', '{"id":' .. encode(id) .. ',"from":' .. encode(from) .. ',"state":' .. encode(to)
    .. ',"level":' .. encode(alarm[1]) .. ',"source":' .. encode(alarm[2]) .. ',"title":' .. encode(alarm[3])
    .. ',"by":' .. encode(by) .. ',"time":' .. now .. '}')
end

-- alarm_raise returns the id of the active alarm of this rule and source, made
-- new if there was none.
local function alarm_raise(namespace, now, alarm)
  local call = redis.call
  local open, field = namespace .. 'alarmsrv:open', alarm.rule .. '|' .. alarm.source
  local id = call('HGET', open, field)
  if id then
    local key = namespace .. 'alarmsrv:alarm:' .. id
    call('HINCRBY', key, 'occurrences', 1)
    call('HSET', key, 'last_at', now)
    return id
  end
  id = tostring(call('INCR', namespace .. 'alarmsrv:sequence'))
  call('HSET', namespace .. 'alarmsrv:alarm:' .. id, 'source', alarm.source, 'rule', alarm.rule, 'level', alarm.level,
    'title', alarm.title, 'description', alarm.description, 'state', 'active_unacknowledged', 'value', alarm.value or '',
    'occurrences', 1, 'raised_at', now, 'last_at', now)
  call('HSET', open, field, id)
  call('SADD', namespace .. 'alarmsrv:alarms:active', id)
  call('SADD', namespace .. 'alarmsrv:alarms:by_level:' .. alarm.level, id)
  call('SADD', namespace .. 'alarmsrv:alarms:by_source:' .. alarm.source, id)
  call('ZADD', namespace .. 'alarmsrv:alarms:by_time', now, id)
  call('ZADD', namespace .. 'alarmsrv:alarms:active_by_time', now, id)
  alarm_moved(namespace, id, '', 'active_unacknowledged', now, alarm.rule ~= '' and 'rule:' .. alarm.rule or 'operator')
  return id
end

-- alarm_set_state moves an alarm and keeps the list of closed ones.
local function alarm_set_state(namespace, id, from, to, now, by)
  redis.call('HSET', namespace .. 'alarmsrv:alarm:' .. id, 'state', to)
  if to == 'closed' then
    redis.call('ZADD', namespace .. 'alarmsrv:alarms:closed_by_time', now, id)
  end
  alarm_moved(namespace, id, from, to, now, by)
end

-- alarm_clear ends the active part of an alarm's life; false when it has none.
local function alarm_clear(namespace, id, now, by)
  local call = redis.call
  local key = namespace .. 'alarmsrv:alarm:' .. id
  local state, rule, source = unpack(call('HMGET', key, 'state', 'rule', 'source'))
  if state ~= 'active_unacknowledged' and state ~= 'active_acknowledged' then
    return false
  end
  call('HSET', key, 'cleared_at', now)
  call('HDEL', namespace .. 'alarmsrv:open', rule .. '|' .. source)
  call('SREM', namespace .. 'alarmsrv:alarms:active', id)
  call('ZREM', namespace .. 'alarmsrv:alarms:active_by_time', id)
  alarm_set_state(namespace, id, state, state == 'active_acknowledged' and 'closed' or 'cleared_unacknowledged', now, by)
  return true
end
