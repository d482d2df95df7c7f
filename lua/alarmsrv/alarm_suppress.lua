-- alarm_suppress: hold back the alarms of a part of the site that are raised from now on, as for maintenance
-- KEYS   [{site}:]suppression id
-- ARGV   scope (all, source or rule), what begins the source or which rule ('' for all), by whom, why, until ms or '', now ms
-- reply  OK
-- errors INVALID, CONFLICT (the id is in use), FULL
-- keys   alarmsrv:suppressions w, alarmsrv:settings r, alarmsrv:version w, alarmsrv:due w, alarmsrv:journal w
-- flags  none
local function alarm_suppress(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_id('suppression id', id)
  check_count(args, 6, 6)
  local scope, value, by, reason, expires, now = unpack(args)
  if scope == 'source' then
    check_alarm_source(value)
  elseif scope == 'rule' then
    check_id('rule', value)
  elseif scope ~= 'all' then
    refuse('INVALID', 'unknown scope ' .. shown(scope) .. ': use all, source or rule')
  elseif value ~= '' then
    refuse('INVALID', 'the scope all takes no value')
  end
  check_text('by', by, 1, 100)
  check_text('why', reason, 1, 500)
  check_time('now', now)
  if expires ~= '' and tonumber(check_time('until', expires)) <= tonumber(now) then
    refuse('INVALID', 'until must be later than now')
  end
  local key = namespace .. 'alarmsrv:suppressions'
  if call('HEXISTS', key, id) == 1 then
    refuse('CONFLICT', 'there is a suppression ' .. shown(id) .. ' already')
  elseif call('HLEN', key) >= suppression_limit then
    refuse('FULL', 'there are ' .. suppression_limit .. ' suppressions: end some')
  end
  call('HSET', key, id, pack_suppression({scope = scope, value = value, since = now, expires = expires, by = by, reason = reason}))
  if expires ~= '' then
    call('ZADD', namespace .. 'alarmsrv:due', expires, 'suppression:' .. id)
  end
  site_moved(namespace, touch_settings(namespace), 'suppress', scope == 'rule' and value or '', scope == 'source' and value or '', now, by, id .. ': ' .. reason)
  return redis.status_reply('OK')
end
