-- alarm_unsuppress: end a suppression; what it alone held back and is still active is announced, beyond the first 100 by alarm_tick
-- KEYS   [{site}:]suppression id
-- ARGV   by whom, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   alarmsrv:suppressions w, alarmsrv:settings r, alarmsrv:version w, alarmsrv:due w, alarmsrv:journal w,
--   alarmsrv:order:suppressed w, alarmsrv:order:standing w, alarmsrv:alarm:{id} w, alarmsrv:counts w, alarmsrv:flood w,
--   alarmsrv:summary w, alarmsrv:notifications w, alarmsrv:counters w, netsrv:lost w
-- flags  none
local function alarm_unsuppress(keys, args)
  local namespace, id = split_key(keys)
  check_id('suppression id', id)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  if not unsuppress(namespace, id, now, by) then
    refuse('NOT_FOUND', 'no suppression ' .. shown(id))
  end
  return redis.status_reply('OK')
end
