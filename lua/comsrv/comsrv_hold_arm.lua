-- comsrv_hold_arm: note, just before a write leaves, how long its value may hold unless it is renewed
-- KEYS   [{site}:]channel
-- ARGV   type (C or A), point, command id, ms for which the value holds (0 is for ever), now ms, due ms of the hold that this write ends or ''
-- reply  armed, or none where nothing is to be noted
-- errors INVALID, CONFLICT (the hold that was to be ended is renewed, or has ended)
-- keys   comsrv:{channel}:holds w, comsrv:holds w
-- flags  none
local function comsrv_hold_arm(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 6, 6)
  local kind, point, id, length, now, ends = unpack(args)
  check_writable(kind)
  check_number_id('point', point)
  check_command_id(id)
  check_integer('the time to hold', length, 0, hold_limit)
  check_time('now', now)
  if ends ~= '' then
    check_time('due', ends)
    if call('ZSCORE', namespace .. 'comsrv:holds', channel .. ':' .. kind .. ':' .. point) ~= ends then
      refuse('CONFLICT', 'the value was renewed, or is safe already')
    end
  end
  local place = kind .. ':' .. point
  local hold = read_hold(namespace, channel, place)
  if length == '0' and not hold.due then
    return 'none'
  end
  -- Of a write before this one it was never told how it ended: its value may be
  -- in force, and may not be.
  hold.until_ms = earlier(hold.until_ms, hold.next_until)
  hold.next, hold.next_until = id, length ~= '0' and string.format('%.0f', tonumber(now) + tonumber(length)) or nil
  keep_hold(namespace, channel, place, hold)
  return 'armed'
end
