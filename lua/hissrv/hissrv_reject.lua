-- hissrv_reject: move an entry that history refuses to the dead letters
-- KEYS   [{site}:]batch
-- ARGV   entry, line, reason (cut after 500 bytes, '?' for control characters), now ms
-- reply  OK, also where the entry is gone already
-- errors INVALID
-- keys   hissrv:stream w, hissrv:dead w, hissrv:counters w
-- flags  allow-oom
local function hissrv_reject(keys, args)
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  check_entry(args[1])
  check_text('line', args[2], 1, 1048576)
  check_time('now', args[4])
  local reason = string.gsub(string.sub(args[3], 1, 500), '%c', '?')
  bury_history(namespace, args[1], args[2], reason, args[4])
  return redis.status_reply('OK')
end
