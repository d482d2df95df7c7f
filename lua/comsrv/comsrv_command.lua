-- comsrv_command: queue a command for a point; the same id again is the same command
-- KEYS   [{site}:]channel
-- ARGV   id, type (C or A), point, number, issued ms, deadline ms, origin, and where the value is to hold for a time alone that time in ms (100 to 604800000)
-- reply  queued, or how far the command of this id has come
-- errors INVALID, EXPIRED, FULL, CONFLICT (the id was used for another command)
-- keys   comsrv:{channel}:commands w, comsrv:{channel}:command:{id} w
-- flags  none
local function comsrv_command(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 7, 8)
  check_id('command id', args[1])
  check_writable(args[2])
  check_number_id('point', args[3])
  check_number('the number', args[4])
  check_time('issued', args[5])
  check_time('deadline', args[6])
  check_text('origin', args[7], 1, 200)
  if args[8] then
    check_integer('the time to hold', args[8], 100, hold_limit)
  end
  if tonumber(args[6]) <= tonumber(args[5]) then
    refuse('EXPIRED', 'the deadline is not after the time of issue')
  end
  return queue_command(namespace, channel, {id = args[1], kind = args[2], point = args[3], value = args[4],
    issued = args[5], deadline = args[6], origin = args[7], hold = args[8]})
end
