-- Alarms that stand aside: shelved by a person for a while, or suppressed while
-- their part of the site is in maintenance. They are stored, and nobody is told.

local release_batch = 100           -- alarms looked at in one go when a suppression ends

-- shown_again tells people of an alarm that stood aside and is still active.
local function shown_again(namespace, settings, alarm, now, text)
  if is_active[alarm.state] and not is_aside(alarm) then
    alarm_stands(namespace, alarm, string.match(alarm.recent, '%d+$') or alarm.raised_at)
    announce(namespace, settings, alarm, now, text)
    if alarm.state == 'active_unacknowledged' then
      wait_anew(namespace, settings, alarm, now)
    end
  end
end

-- unshelve ends the shelving of a definition; false when it was not shelved.
local function unshelve(namespace, settings, definition, now, by, text)
  local call = redis.call
  if call('HDEL', namespace .. 'alarmsrv:shelved', definition) == 0 then
    return false
  end
  call('ZREM', namespace .. 'alarmsrv:due', 'shelf:' .. definition)
  local id = call('HGET', namespace .. 'alarmsrv:definitions', definition)
  local alarm = id and alarm_load(namespace, id)
  if not alarm or alarm.state == 'closed' then
    local rule, source = string.match(definition, '^([^|]*)|(.*)$')
    site_moved(namespace, settings, 'unshelve', rule, source, now, by, text)
    return true
  end
  alarm_aside_ends(namespace, alarm, true, false)
  alarm_moved(namespace, settings, alarm, 'unshelve', alarm.state, alarm.state, now, by, text)
  shown_again(namespace, settings, alarm, now, 'unshelve')
  return true
end

-- release looks at suppressed alarms after an id and lets those go that nothing
-- holds back any more. What is left to look at becomes due.
local function release(namespace, settings, from, now)
  local ids = redis.call('ZRANGEBYSCORE', namespace .. 'alarmsrv:order:suppressed', '(' .. from, '+inf', 'LIMIT', 0, release_batch)
  for _, id in ipairs(ids) do
    local alarm = alarm_load(namespace, id)
    if not is_covered(settings, alarm, now) then
      alarm_aside_ends(namespace, alarm, false, true)
      alarm_moved(namespace, settings, alarm, 'unsuppress', alarm.state, alarm.state, now, 'alarmsrv', '')
      shown_again(namespace, settings, alarm, now, 'unsuppress')
    end
  end
  if #ids == release_batch then
    redis.call('ZADD', namespace .. 'alarmsrv:due', now, 'release:' .. ids[#ids])
  end
end

-- unsuppress ends a suppression and lets go what it alone held back; false when
-- there is none with this id.
local function unsuppress(namespace, id, now, by)
  local call = redis.call
  local text = call('HGET', namespace .. 'alarmsrv:suppressions', id)
  if not text then
    return false
  end
  local s = unpack_suppression(id, text)
  call('HDEL', namespace .. 'alarmsrv:suppressions', id)
  call('ZREM', namespace .. 'alarmsrv:due', 'suppression:' .. id)
  local settings = touch_settings(namespace)
  site_moved(namespace, settings, 'unsuppress', s.scope == 'rule' and s.value or '', s.scope == 'source' and s.value or '', now, by, id)
  release(namespace, settings, '0', now)
  return true
end
