-- list_alarms serves the lists of all and of active alarms, newest first. index
-- is the time index to walk; level and source narrow it through their sets.
local function list_alarms(namespace, index, args)
  check_count(args, 3, 3)
  local level, source, count = args[1], args[2], check_integer('how many', args[3], 1, 1000)
  local prefix = namespace .. 'alarmsrv:alarms:'
  local ids
  if level == '' and source == '' then
    ids = redis.call('ZREVRANGE', prefix .. index, 0, count - 1)
  else
    local sets, weights = {prefix .. index}, {1}
    if level ~= '' then
      sets[#sets + 1], weights[#weights + 1] = prefix .. 'by_level:' .. check_level(level), 0
    end
    if source ~= '' then
      sets[#sets + 1], weights[#weights + 1] = prefix .. 'by_source:' .. check_alarm_source(source), 0
    end
    local query = {'ZINTER', #sets}
    for _, set in ipairs(sets) do
      query[#query + 1] = set
    end
    query[#query + 1] = 'WEIGHTS'
    for _, weight in ipairs(weights) do
      query[#query + 1] = weight
    end
    local rising = redis.call(unpack(query))
    ids = {}
    for i = #rising, math.max(1, #rising - count + 1), -1 do
      ids[#ids + 1] = rising[i]
    end
  end
  local reply = {}
  for _, id in ipairs(ids) do
    for _, text in ipairs(alarm_row(namespace, id) or {}) do
      reply[#reply + 1] = text
    end
  end
  return reply
end
