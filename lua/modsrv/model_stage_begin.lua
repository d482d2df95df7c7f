-- model_stage_begin: begin to prepare a site beside the one in use, in place of any that is being prepared
-- KEYS   [{site}:]all
-- ARGV   who prepares: an id that nobody used before
-- reply  the version of the models in use; model_stage_commit wants it back
-- errors INVALID
-- keys   modsrv:version r, modsrv:staged:{key} w
-- flags  none
local function model_stage_begin(keys, args)
  local namespace = split_key(keys)
  check_count(args, 1, 1)
  check_id('who prepares', args[1])
  clear_root(namespace .. 'modsrv:staged:')
  redis.call('SET', namespace .. 'modsrv:staged:owner', args[1])
  return redis.call('GET', namespace .. 'modsrv:version') or '0'
end
