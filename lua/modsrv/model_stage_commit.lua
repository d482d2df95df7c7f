-- model_stage_commit: put the staged templates and models in the place of those in use, all at once
-- KEYS   [{site}:]all
-- ARGV   the version that model_stage_begin replied, who prepares, the library of which the functions were that staged them
-- reply  how many templates and how many models there are now
-- errors INVALID, CONFLICT (the models in use were changed meanwhile, or somebody else prepares a site)
-- keys   modsrv:template:{id} w, modsrv:templates w, modsrv:templates:by_parent:{id} w, modsrv:model:{id} w, modsrv:models w,
--   modsrv:models:by_template:{id} w, modsrv:models:by_channel:{channel} w, modsrv:reverse:{channel}:{type} w,
--   modsrv:keys w, modsrv:version w, modsrv:library w, modsrv:staged:{key} w
-- flags  none
local function model_stage_commit(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 3, 3)
  check_time('version', args[1])
  check_text('library', args[3], 1, 100)
  local root, staged = namespace .. 'modsrv:', own_stage(namespace, args[2])
  if (call('GET', root .. 'version') or '0') ~= args[1] then
    refuse('CONFLICT', 'the models were changed while this site was prepared: prepare it again')
  end
  clear_root(root)
  for _, name in ipairs(call('SMEMBERS', staged .. 'keys')) do
    call('RENAME', staged .. name, root .. name)
    note_key(root, name)
  end
  call('DEL', staged .. 'keys', staged .. 'owner')
  call('SET', root .. 'library', args[3])
  touch_models(root)
  return {tostring(call('ZCARD', root .. 'templates')), tostring(call('ZCARD', root .. 'models'))}
end
