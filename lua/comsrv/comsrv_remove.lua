-- comsrv_remove: remove a channel with its values, its commands and their results, a part at each call
-- KEYS   [{site}:]channel
-- ARGV   none
-- reply  more when the call must be made again, else done
-- errors INVALID
-- keys   comsrv:{channel}:{type} w, comsrv:{channel}:{type}:ts w, comsrv:{channel}:{type}:q w, comsrv:{channel}:{type}:g w,
--   comsrv:{channel}:status w, comsrv:{channel}:commands w, comsrv:{channel}:commands:results w,
--   comsrv:{channel}:command:{id} w, comsrv:channels w, comsrv:{channel}:holds w, comsrv:holds w, comsrv:switched w
-- flags  allow-oom
local function comsrv_remove(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 0, 0)
  local base = namespace .. 'comsrv:' .. channel .. ':'
  -- Commands that stand in neither stream any more are forgotten within an hour.
  for _, stream in ipairs({base .. 'commands', base .. 'commands:results'}) do
    local entries = call('XRANGE', stream, '-', '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      for n = 1, #entry[2], 2 do
        if entry[2][n] == 'id' then
          call('UNLINK', base .. 'command:' .. entry[2][n + 1])
        end
      end
      call('XDEL', stream, entry[1])
    end
    if #entries == 500 then
      return 'more'
    end
  end
  local doomed = {base .. 'status', base .. 'commands', base .. 'commands:results'}
  for _, kind in ipairs({'T', 'S', 'C', 'A'}) do
    for _, beside in ipairs({'', ':ts', ':q', ':g'}) do
      doomed[#doomed + 1] = base .. kind .. beside
    end
  end
  call('UNLINK', unpack(doomed))
  forget_holds(namespace, channel)
  call('SREM', namespace .. 'comsrv:channels', channel)
  call('HDEL', namespace .. 'comsrv:switched', channel)
  return 'done'
end
