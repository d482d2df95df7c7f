-- hissrv_reject: move an entry that history refuses to the dead letters
-- KEYS   [{site}:]batch
-- ARGV   entry, line, reason, now ms
-- reply  OK
-- errors INVALID
-- keys   hissrv:stream w, hissrv:dead w, hissrv:counters w
-- flags  allow-oom
local function hissrv_reject(keys, args)
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  if not string.find(args[1], '^%d+%-%d+$') then
    refuse('INVALID', shown(args[1]) .. ' is not a stream entry')
  end
  check_time('now', args[4])
  bury_history(namespace, args[1], args[2], string.sub(args[3], 1, 500), args[4])
  return redis.status_reply('OK')
end
