-- comsrv_command_result: store the final state of a command and take it out of the stream
-- KEYS   [{site}:]channel
-- ARGV   id, state (done, failed, expired or unknown), number read back or '', reason, time ms, stream entry
-- reply  the final state, which is the first one told
-- errors INVALID
-- keys   comsrv:{channel}:command:{id} w, comsrv:{channel}:commands w, comsrv:{channel}:commands:results w
-- flags  allow-oom
local function comsrv_command_result(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 6, 6)
  local id, state, read_back, reason, time, entry = unpack(args)
  check_command_id(id)
  if state ~= 'done' and state ~= 'failed' and state ~= 'expired' and state ~= 'unknown' then
    refuse('INVALID', 'unknown final state ' .. shown(state) .. ': use done, failed, expired or unknown')
  end
  if read_back ~= '' then
    check_number('the number read back', read_back)
  end
  check_text('reason', reason, 0, 500)
  check_time('time', time)
  check_entry(entry)
  local key, stream = namespace .. 'comsrv:' .. channel .. ':command:' .. id, namespace .. 'comsrv:' .. channel .. ':commands'
  local before, kind, point, value, origin, issued, begun, hold = unpack(call('HMGET', key,
    'state', 'type', 'point', 'value', 'origin', 'issued', 'begun', 'hold'))
  if before == 'queued' or before == 'executing' then
    call('HSET', key, 'state', state, 'read_back', read_back, 'reason', reason, 'time', time)
    call('XADD', stream .. ':results', 'MAXLEN', '~', 10000, '*', 'id', id, 'state', state,
      'read_back', read_back, 'reason', reason, 'time', time, 'type', kind or '', 'point', point or '', 'value', value or '',
      'origin', origin or '', 'issued', issued or '', 'begun', begun or '', 'hold', hold or '')
  else
    state = before or state
  end
  if call('EXISTS', stream) == 1 then
    call('XACK', stream, 'comsrv', entry)
    call('XDEL', stream, entry)
  end
  return state
end
