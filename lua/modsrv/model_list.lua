-- model_list: return a page of models in the order of their ids
-- KEYS   [{site}:]all
-- ARGV   id after which the page begins ('' for the first), how many (1 to 1000), template ('' for any), channel ('' for any)
-- reply  id after which the next page begins ('' when this is the last), then models as JSON
-- errors INVALID
-- keys   modsrv:models r, modsrv:models:by_template:{id} r, modsrv:models:by_channel:{channel} r, modsrv:model:{id} r
-- flags  no-writes
local function model_list(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  local count = check_integer('how many', args[2], 1, 1000)
  local index, channel = namespace .. 'modsrv:models', nil
  if args[3] ~= '' then
    index = index .. ':by_template:' .. check_id('template', args[3])
    channel = args[4] ~= '' and check_number_id('channel', args[4])
  elseif args[4] ~= '' then
    index = index .. ':by_channel:' .. check_number_id('channel', args[4])
  end
  -- One page of the index is looked at, however few of it are of the channel.
  local ids = page(index, args[1], count)
  local reply = {#ids == count and ids[count] or ''}
  for _, id in ipairs(ids) do
    local config, of_channel = unpack(call('HMGET', namespace .. 'modsrv:model:' .. id, 'config', 'channel'))
    if not channel or channel == of_channel then
      reply[#reply + 1] = config
    end
  end
  return reply
end
