-- The life cycle of alarms (ISA-18.2): raise, clear, acknowledge, escalate. Rules
-- inside comsrv_ingest and the alarm functions go through here, so that indexes,
-- counts and journal always follow.
--
-- A definition is a rule and a source, "rule|source". It has one open alarm at
-- most; alarmsrv:definitions leads to the last alarm of each.

local alarm_fields = {'source', 'rule', 'level', 'title', 'description', 'state', 'value', 'occurrences',
  'raised_at', 'last_at', 'cleared_at', 'acknowledged_at', 'acknowledged_by', 'worst', 'shelved_until', 'shelved_by', 'shelved_reason',
  'suppressed', 'chattering', 'escalated_from', 'comments'}

local is_active = {active_unacknowledged = true, active_acknowledged = true}

-- Where among the texts of an alarm, behind its id, each field stands.
local alarm_places = {}
for i = 1, #alarm_fields do
  alarm_places[alarm_fields[i]] = i
end

-- append_alarm appends the 22 texts that describe one alarm to a list, and reports
-- whether there is that alarm. The hash is read whole: to look for each field in it
-- takes half as long again.
local function append_alarm(texts, namespace, id)
  local pairs_read, first = redis.call('HGETALL', alarm_keys(namespace).alarm .. id), #texts + 1
  if #pairs_read == 0 then
    return false
  end
  texts[first] = id
  for i = first + 1, first + #alarm_fields do
    texts[i] = ''
  end
  for i = 1, #pairs_read, 2 do
    local place = alarm_places[pairs_read[i]]
    if place then
      texts[first + place] = pairs_read[i + 1]
    end
  end
  return true
end

-- Beside what is told of an alarm: when it became active lately, with which
-- occurrence it last became active or worse (the first, where that is not set),
-- since when it waits at its level to be acknowledged (since it was raised, where
-- that is not set), and after how long of that it escalated last.
local kept_fields = {'recent', 'activated', 'waits_since', 'waited'}
for i = 1, #alarm_fields do
  kept_fields[i + 4] = alarm_fields[i]
end

-- alarm_load returns an alarm by the names of its fields, nil if there is none.
local function alarm_load(namespace, id)
  local texts, alarm = redis.call('HMGET', alarm_keys(namespace).alarm .. id, unpack(kept_fields)), {id = id}
  for i, name in ipairs(kept_fields) do
    alarm[name] = texts[i] or ''
  end
  return alarm.source ~= '' and alarm or nil
end

-- need_alarm refuses an id that no alarm has.
local function need_alarm(namespace, id)
  check_id('alarm id', id)
  local alarm = alarm_load(namespace, id)
  if not alarm then
    refuse('NOT_FOUND', 'no alarm ' .. shown(id))
  end
  return alarm
end

local function alarm_count(namespace, field, by)
  redis.call('HINCRBY', alarm_keys(namespace).counts, field, by)
end

-- is_aside reports whether an alarm is shelved or suppressed: people are not told.
local function is_aside(alarm)
  return alarm.shelved_until ~= '' or alarm.suppressed ~= ''
end

-- next_step returns the step that follows for an alarm that nobody acknowledges,
-- and when it is due; nil where there is none.
local function next_step(settings, alarm)
  for _, step in ipairs(settings.steps[alarm.level] or {}) do
    if step.wait > (tonumber(alarm.waited) or 0) then
      return step, after(alarm.waits_since ~= '' and alarm.waits_since or alarm.raised_at, step.wait)
    end
  end
end

-- schedule_escalation sets the time at which the next step of an alarm is due.
local function schedule_escalation(namespace, settings, alarm)
  local step, due = next_step(settings, alarm)
  if step and not is_aside(alarm) then
    redis.call('ZADD', alarm_keys(namespace).due, due, 'escalate:' .. alarm.id)
  end
end

-- alarm_stands enters an alarm among those that stand: active, and not aside, since
-- it became active last.
local function alarm_stands(namespace, alarm, since)
  redis.call('ZADD', alarm_keys(namespace).order_standing, since, alarm.id)
end

-- wait_anew begins to wait for somebody to acknowledge an alarm.
local function wait_anew(namespace, settings, alarm, now)
  alarm.waits_since = now
  redis.call('HSET', alarm_keys(namespace).alarm .. alarm.id, 'waits_since', now)
  schedule_escalation(namespace, settings, alarm)
end

-- alarm_aside_ends takes the marks of shelving and suppression away.
local function alarm_aside_ends(namespace, alarm, shelved, suppressed)
  local key = namespace .. 'alarmsrv:alarm:' .. alarm.id
  if shelved and alarm.shelved_until ~= '' then
    redis.call('HDEL', key, 'shelved_until', 'shelved_by', 'shelved_reason')
    alarm_count(namespace, 'shelved', -1)
    alarm.shelved_until = ''
  end
  if suppressed and alarm.suppressed ~= '' then
    redis.call('HDEL', key, 'suppressed')
    redis.call('ZREM', namespace .. 'alarmsrv:order:suppressed', alarm.id)
    alarm_count(namespace, 'suppressed', -1)
    alarm.suppressed = ''
  end
end

-- alarm_set_state moves an alarm through indexes and counts, and journals it.
local function alarm_set_state(namespace, settings, alarm, event, to, now, by, text)
  local call, from, prefix = redis.call, alarm.state, namespace .. 'alarmsrv:'
  if is_active[from] and not is_active[to] then
    call('SREM', prefix .. 'alarms:active', alarm.id)
    call('ZREM', prefix .. 'order:active', alarm.id)
    call('ZREM', prefix .. 'order:standing', alarm.id)
  elseif is_active[to] and not is_active[from] then
    call('SADD', prefix .. 'alarms:active', alarm.id)
    call('ZADD', prefix .. 'order:active', alarm.id, alarm.id)
  end
  if to == 'closed' then
    call('ZREM', prefix .. 'order:open', alarm.id)
    call('ZREM', prefix .. 'order:level:' .. alarm.level, alarm.id)
    call('ZADD', prefix .. 'order:closed', now, alarm.id)
    alarm_aside_ends(namespace, alarm, true, true)
    if alarm.chattering ~= '' then
      alarm_count(namespace, 'chattering', -1)
    end
  end
  if to ~= 'active_unacknowledged' then
    call('ZREM', prefix .. 'due', 'escalate:' .. alarm.id)
  end
  call('HSET', prefix .. 'alarm:' .. alarm.id, 'state', to)
  alarm_count(namespace, from .. ':' .. alarm.level, -1)
  alarm_count(namespace, to .. ':' .. alarm.level, 1)
  alarm.state = to
  alarm_moved(namespace, settings, alarm, event, from, to, now, by, text)
end

-- alarm_set_level moves an open alarm to another level.
local function alarm_set_level(namespace, alarm, level)
  local call, prefix = redis.call, namespace .. 'alarmsrv:'
  call('HSET', prefix .. 'alarm:' .. alarm.id, 'level', level)
  for _, index in ipairs({'alarms:by_level:', 'order:level:'}) do
    local old, new = prefix .. index .. alarm.level, prefix .. index .. level
    if index == 'order:level:' then
      call('ZREM', old, alarm.id)
      call('ZADD', new, alarm.id, alarm.id)
    else
      call('SREM', old, alarm.id)
      call('SADD', new, alarm.id)
    end
  end
  alarm_count(namespace, alarm.state .. ':' .. alarm.level, -1)
  alarm_count(namespace, alarm.state .. ':' .. level, 1)
  alarm.level = level
end

-- worse_value returns the value furthest in a direction.
local function worse_value(worst, value, direction)
  if value == '' or direction == '' then
    return worst
  elseif worst == '' then
    return value
  end
  local further = direction == 'high' and tonumber(value) > tonumber(worst) or direction == 'low' and tonumber(value) < tonumber(worst)
  return further and value or worst
end

-- recent_raises adds a time to those at which a definition became active lately,
-- and reports whether they are so many that it chatters.
local function recent_raises(settings, recent, now)
  local times = {}
  for time in string.gmatch(recent, '%d+') do
    times[#times + 1] = time
  end
  times[#times + 1] = now
  while #times > settings.chatter_count do
    table.remove(times, 1)
  end
  return table.concat(times, ' '), #times == settings.chatter_count and tonumber(now) - tonumber(times[1]) <= settings.chatter_period
end

-- note_chatter marks an alarm that has become active too often, once, and sets
-- the time at which to see whether it is quiet.
local function note_chatter(namespace, settings, alarm, chatters, now)
  if alarm.chattering == '' and not chatters then
    return
  end
  redis.call('ZADD', namespace .. 'alarmsrv:due', after(now, settings.chatter_period), 'chatter:' .. alarm.rule .. '|' .. alarm.source)
  if alarm.chattering == '' then
    alarm.chattering = '1'
    redis.call('HSET', namespace .. 'alarmsrv:alarm:' .. alarm.id, 'chattering', '1')
    alarm_count(namespace, 'chattering', 1)
    alarm_moved(namespace, settings, alarm, 'chatter', alarm.state, alarm.state, now, 'alarmsrv', '')
  end
end

local function raiser(alarm)
  return alarm.rule ~= '' and 'rule:' .. alarm.rule or 'operator'
end

-- told_aside says in the journal why people were not told.
local function told_aside(alarm)
  return alarm.shelved_until ~= '' and 'shelved' or alarm.suppressed ~= '' and 'suppressed' or ''
end

-- hold_back suppresses an alarm that is about to be told, where something covers it.
local function hold_back(namespace, settings, alarm, now)
  if alarm.suppressed == '' and is_covered(settings, alarm, now) then
    alarm.suppressed = '1'
    redis.call('HSET', namespace .. 'alarmsrv:alarm:' .. alarm.id, 'suppressed', '1')
    redis.call('ZADD', namespace .. 'alarmsrv:order:suppressed', alarm.id, alarm.id)
    redis.call('ZREM', namespace .. 'alarmsrv:order:standing', alarm.id)
    alarm_count(namespace, 'suppressed', 1)
  end
end

-- own_level is the level that an alarm was raised with, before it escalated.
local function own_level(alarm)
  return alarm.escalated_from ~= '' and alarm.escalated_from or alarm.level
end

-- alarm_worsens takes an active alarm to a more severe level of its own: whoever
-- acknowledged it has not seen that. Where it has escalated beyond, it stays there.
local function alarm_worsens(namespace, settings, now, alarm, raised)
  local call, key = redis.call, namespace .. 'alarmsrv:alarm:' .. alarm.id
  local text = own_level(alarm) .. ' to ' .. raised.level
  alarm.title, alarm.description, alarm.waited = raised.title, raised.description, ''
  call('HSET', key, 'title', alarm.title, 'description', alarm.description, 'activated', alarm.occurrences)
  call('HDEL', key, 'waited', 'acknowledged_at', 'acknowledged_by')
  call('ZREM', namespace .. 'alarmsrv:due', 'escalate:' .. alarm.id)
  if level_rank[alarm.level] < level_rank[raised.level] then
    call('HSET', key, 'escalated_from', raised.level)
  else
    call('HDEL', key, 'escalated_from')
    alarm_set_level(namespace, alarm, raised.level)
  end
  hold_back(namespace, settings, alarm, now)
  local aside = told_aside(alarm)
  alarm_set_state(namespace, settings, alarm, 'worsen', 'active_unacknowledged', now, raised.by or raiser(alarm), aside == '' and text or text .. ', ' .. aside)
  wait_anew(namespace, settings, alarm, now)
  if aside == '' then
    announce(namespace, settings, alarm, now, 'worsen')
  end
end

-- alarm_again counts one more raise of an open alarm. One that had cleared is
-- active again, as its rule describes it now.
local function alarm_again(namespace, settings, now, alarm, raised)
  local call, key = redis.call, namespace .. 'alarmsrv:alarm:' .. alarm.id
  alarm.occurrences = string.format('%.0f', tonumber(alarm.occurrences) + 1)
  alarm.value = raised.value ~= '' and raised.value or alarm.value
  call('HSET', key, 'occurrences', alarm.occurrences, 'last_at', now, 'value', alarm.value, 'worst', worse_value(alarm.worst, raised.value, raised.worse))
  if is_active[alarm.state] then
    if level_rank[raised.level] < level_rank[own_level(alarm)] then
      alarm_worsens(namespace, settings, now, alarm, raised)
    end
    return alarm.id
  end
  local recent, chatters = recent_raises(settings, alarm.recent, now)
  alarm.title, alarm.description = raised.title, raised.description
  call('HSET', key, 'recent', recent, 'activated', alarm.occurrences, 'title', alarm.title, 'description', alarm.description)
  call('HDEL', key, 'cleared_at')
  if raised.level ~= own_level(alarm) then
    call('HDEL', key, 'escalated_from', 'waited')
    alarm.waited = ''
    alarm_set_level(namespace, alarm, raised.level)
  end
  hold_back(namespace, settings, alarm, now)
  alarm_set_state(namespace, settings, alarm, 'return', 'active_unacknowledged', now, raised.by or raiser(alarm), told_aside(alarm))
  note_chatter(namespace, settings, alarm, chatters, now)
  wait_anew(namespace, settings, alarm, now)
  if not is_aside(alarm) then
    alarm_stands(namespace, alarm, now)
    announce(namespace, settings, alarm, now, 'return')
  end
  return alarm.id
end

-- Sites of which this Redis has given an id since it took the library, and how many alarms at
-- most it lost when it ended: what it had not written to disk yet.
local ids_given, most_lost = {}, 100000

-- next_alarm_id gives each alarm an id of its own. A Redis that was killed may have
-- forgotten the last ones that it gave, which people have seen: it goes on behind
-- all of them, or who acknowledges one would acknowledge another.
local function next_alarm_id(namespace)
  local id = redis.call('INCR', alarm_keys(namespace).sequence)
  if not ids_given[namespace] then
    ids_given[namespace] = true
    id = id > 1 and redis.call('INCRBY', alarm_keys(namespace).sequence, most_lost) or id
  end
  return string.format('%.0f', id)
end

-- alarm_new begins a new alarm of a definition, whose last one has closed, if
-- there was any: from it the new one inherits whether the definition chatters.
local function alarm_new(namespace, settings, now, raised, definition, former)
  local call, keys, level = redis.call, alarm_keys(namespace), raised.level
  local recent, chatters = recent_raises(settings, former and former.recent or '', now)
  local id = next_alarm_id(namespace)
  local alarm = {id = id, source = raised.source, rule = raised.rule, level = level, title = raised.title,
    description = raised.description, value = raised.value, occurrences = '1', state = 'active_unacknowledged',
    chattering = former and former.chattering or '', waits_since = now, shelved_until = '', suppressed = is_covered(settings, raised, now) and '1' or ''}
  local more = {}
  local function add(name, value)
    more[#more + 1], more[#more + 2] = name, value
  end
  if alarm.value ~= '' and raised.worse ~= '' then
    add('worst', alarm.value)
  end
  if alarm.chattering ~= '' then
    add('chattering', '1')
    alarm_count(namespace, 'chattering', 1)
  end
  local shelved = call('HGET', keys.shelved, definition)
  if shelved then
    local expires, length, rest = string.match(shelved, '^(%d+) (%d+) (.*)$')
    alarm.shelved_until = expires
    add('shelved_until', expires)
    add('shelved_by', string.sub(rest, 1, tonumber(length)))
    add('shelved_reason', string.sub(rest, tonumber(length) + 1))
    alarm_count(namespace, 'shelved', 1)
  end
  if alarm.suppressed ~= '' then
    add('suppressed', '1')
    call('ZADD', namespace .. 'alarmsrv:order:suppressed', id, id)
    alarm_count(namespace, 'suppressed', 1)
  end
  call('HSET', keys.alarm .. id, 'source', alarm.source, 'rule', alarm.rule, 'level', alarm.level, 'title', alarm.title,
    'description', alarm.description, 'state', alarm.state, 'value', alarm.value, 'occurrences', 1, 'raised_at', now, 'last_at', now,
    'recent', recent, unpack(more))
  call('HSET', keys.definitions, definition, id)
  call('SADD', keys.active, id)
  call('SADD', keys.by_level[level], id)
  call('SADD', keys.by_source .. alarm.source, id)
  call('ZADD', keys.order_all, id, id)
  call('ZADD', keys.order_time, now, timed_member(id))
  call('ZADD', keys.order_open, id, id)
  call('ZADD', keys.order_active, id, id)
  call('ZADD', keys.order_level[level], id, id)
  call('ZADD', keys.order_source .. alarm.source, id, id)
  alarm_count(namespace, 'active_unacknowledged:' .. level, 1)
  alarm_moved(namespace, settings, alarm, 'raise', '', alarm.state, now, raised.by or raiser(alarm), told_aside(alarm))
  note_chatter(namespace, settings, alarm, chatters, now)
  schedule_escalation(namespace, settings, alarm)
  if not is_aside(alarm) then
    alarm_stands(namespace, alarm, now)
    announce(namespace, settings, alarm, now, 'raise')
  end
  return id
end

-- alarm_raise raises an alarm: {source, rule, level, title, description, value,
-- worse, by}, where value may be '', worse says in which direction ('high', 'low'
-- or '') a value is worse, and by who raises it, nil for the rule itself. It
-- returns the id of the open alarm of this rule and source, made new if there was
-- none.
local function alarm_raise(namespace, now, raised)
  local settings, definition = alarm_settings(namespace), raised.rule .. '|' .. raised.source
  raised.value, raised.worse = raised.value or '', raised.worse or ''
  local id = redis.call('HGET', alarm_keys(namespace).definitions, definition)
  local last = id and alarm_load(namespace, id)
  if last and last.state ~= 'closed' then
    return alarm_again(namespace, settings, now, last, raised)
  end
  return alarm_new(namespace, settings, now, raised, definition, last)
end

-- alarm_went notes of the active alarm of a rule that its value, nil where it is not
-- known, is worse than it ever was.
local function alarm_went(namespace, rule, source, number, worse)
  local id = number and redis.call('HGET', alarm_keys(namespace).definitions, rule .. '|' .. source)
  local worst = id and redis.call('HGET', alarm_keys(namespace).alarm .. id, 'worst')
  if worst and worse_value(worst, number, worse) == number then
    redis.call('HSET', alarm_keys(namespace).alarm .. id, 'worst', string.format('%.6f', number))
  end
end

-- alarm_clear ends the active part of an alarm's life, with what the journal is to
-- say of why, or ''; false when it has none.
local function alarm_clear(namespace, alarm, now, by, text)
  if not is_active[alarm.state] then
    return false
  end
  redis.call('HSET', namespace .. 'alarmsrv:alarm:' .. alarm.id, 'cleared_at', now)
  alarm_set_state(namespace, alarm_settings(namespace), alarm, 'clear',
    alarm.state == 'active_acknowledged' and 'closed' or 'cleared_unacknowledged', now, by, text)
  return true
end

-- alarm_clear_definition clears the alarm that a rule has raised about a source;
-- false when none was active. text says why where that is not that its condition
-- has gone, as when somebody disabled the rule; it may be left out.
local function alarm_clear_definition(namespace, rule, source, now, by, text)
  local id = redis.call('HGET', namespace .. 'alarmsrv:definitions', rule .. '|' .. source)
  local alarm = id and alarm_load(namespace, id)
  return alarm and alarm_clear(namespace, alarm, now, by, text or '') or false
end
