-- model_template_get: return a template
-- KEYS   [{site}:]template id
-- ARGV   none
-- reply  template as JSON
-- errors INVALID, NOT_FOUND
-- keys   modsrv:template:{id} r
-- flags  no-writes
local function model_template_get(keys, args)
  local namespace, id = split_key(keys)
  check_id('template id', id)
  check_count(args, 0, 0)
  local template = redis.call('GET', namespace .. 'modsrv:template:' .. id)
  if not template then
    refuse('NOT_FOUND', 'no template ' .. shown(id))
  end
  return template
end
