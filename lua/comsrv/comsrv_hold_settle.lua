-- comsrv_hold_settle: note how the write ended that was armed last
-- KEYS   [{site}:]channel
-- ARGV   type (C or A), point, command id, done or refused (the device surely did not take it)
-- reply  settled, or past where another write was armed since
-- errors INVALID
-- keys   comsrv:{channel}:holds w, comsrv:holds w
-- flags  allow-oom
local function comsrv_hold_settle(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 4, 4)
  local kind, point, id, outcome = unpack(args)
  check_writable(kind)
  check_number_id('point', point)
  check_command_id(id)
  if outcome ~= 'done' and outcome ~= 'refused' then
    refuse('INVALID', 'unknown outcome ' .. shown(outcome) .. ': use done or refused')
  end
  local place = kind .. ':' .. point
  local hold = read_hold(namespace, channel, place)
  if hold.next ~= id then
    return 'past'
  end
  if outcome == 'done' then
    hold.until_ms = hold.next_until
  end
  hold.next, hold.next_until = nil, nil
  keep_hold(namespace, channel, place, hold)
  return 'settled'
end
