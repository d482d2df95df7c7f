-- model_stage_cancel: leave nothing of a site that was being prepared
-- KEYS   [{site}:]all
-- ARGV   who prepares it
-- reply  OK
-- errors INVALID, CONFLICT (somebody else prepares a site)
-- keys   modsrv:staged:{key} w
-- flags  allow-oom
local function model_stage_cancel(keys, args)
  local namespace = split_key(keys)
  check_count(args, 1, 1)
  local staged = own_stage(namespace, args[1])
  clear_root(staged)
  redis.call('DEL', staged .. 'owner')
  return redis.status_reply('OK')
end
