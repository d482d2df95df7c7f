-- Models: names given to points. A model is stored as it was given ("config"),
-- with what follows from its templates beside it: "layout" says what to read,
-- "actions" what may be written.

-- resolve_point returns channel, type and number of a point of a mapping.
local function resolve_point(what, text, channel, fallback)
  text = type(text) == 'number' and string.format('%.17g', text) or type(text) == 'string' and text or type(text)
  if string.sub(text, 1, 7) == 'comsrv:' then
    return check_source(what, text)
  end
  local kind, point = string.match(text, '^([TSCA]):([1-9]%d*)$')
  if not kind then
    kind, point = fallback, string.match(text, '^([1-9]%d*)$')
  end
  if not point then
    refuse('INVALID', what .. ' ' .. shown(text) .. " is not a point: use a number of 1 or more, 'S:3' or 'comsrv:1002:S:3'")
  end
  return channel, kind, check_number_id(what, point)
end

-- expand_fields returns the named points of a model: {name, channel, kind,
-- point, field} for each, and the template's names that it does not use.
local function expand_fields(what, mapping, channel, offset, fields, fallback, unmapped)
  local expanded = {}
  local function add(name, field, text)
    local entry = {name = name, field = field}
    entry.channel, entry.kind, entry.point = resolve_point(what .. '.' .. name, text, channel, field.type or fallback)
    if fallback == 'C' then
      check_writable(entry.kind)
    end
    expanded[#expanded + 1] = entry
  end
  if not fields then
    local names = {}
    for name in pairs(mapping) do
      names[#names + 1] = check_id(what .. ' name', tostring(name))
    end
    table.sort(names)
    for _, name in ipairs(names) do
      add(name, {}, mapping[name])
    end
  else
    local known = {}
    for _, field in ipairs(fields) do
      known[field.name] = true
      if mapping[field.name] ~= nil then
        add(field.name, field, mapping[field.name])
      elseif offset then
        add(field.name, field, string.format('%s:%.0f', field.type, field.point + offset))
      else
        unmapped[#unmapped + 1] = field.name
      end
    end
    for name in pairs(mapping) do
      if not known[name] then
        refuse('INVALID', what .. ': the template has no ' .. shown(tostring(name)))
      end
    end
  end
  if #expanded > field_limit then
    refuse('INVALID', what .. ' has more than ' .. field_limit .. ' names')
  end
  return expanded
end

-- usable_computed leaves out what the template computes from names that this
-- model does not have, in rounds: first what lacks an input, then what was to be
-- computed from that, and so on.
local function usable_computed(fields, inputs, unmapped, compile)
  local by_name, followers, lost, waiting = {}, {}, {}, {}
  for _, field in ipairs(fields) do
    by_name[field.name] = true
  end
  for place, field in ipairs(fields) do
    local _, needed = compile(field)
    for _, name in ipairs(needed) do
      if by_name[name] then
        followers[name] = followers[name] or {}
        table.insert(followers[name], place)
      elseif not inputs[name] and not lost[place] then
        lost[place] = true
        waiting[#waiting + 1] = place
      end
    end
  end
  while #waiting > 0 do
    table.sort(waiting)
    local following = {}
    for _, place in ipairs(waiting) do
      local name = fields[place].name
      unmapped[#unmapped + 1] = name
      for _, follower in ipairs(followers[name] or {}) do
        if not lost[follower] then
          lost[follower] = true
          following[#following + 1] = follower
        end
      end
    end
    waiting = following
  end
  local kept = {}
  for place, field in ipairs(fields) do
    if not lost[place] then
      kept[#kept + 1] = field
    end
  end
  return kept
end

local function check_mapping(mapping)
  if type(mapping) ~= 'table' or type(mapping.channel) ~= 'number' then
    refuse('INVALID', 'mapping.channel is missing')
  end
  for _, name in ipairs({'data', 'action'}) do
    if mapping[name] ~= nil and type(mapping[name]) ~= 'table' then
      refuse('INVALID', 'mapping.' .. name .. ' must map names to points')
    end
  end
  local offset = mapping.offset
  if offset ~= nil and (type(offset) ~= 'number' or offset % 1 ~= 0 or math.abs(offset) > 4294967295) then
    refuse('INVALID', 'mapping.offset must be a whole number')
  end
  return check_number_id('mapping.channel', string.format('%.17g', mapping.channel)), offset
end

-- expand_model checks a model and returns it with all that its templates say.
local function expand_model(root, model, known)
  check_optional_text('name', model.name)
  check_metadata(model.metadata)
  local channel, offset = check_mapping(model.mapping)
  local templates, flat = {}, {computed = {}, metadata = {}}
  check_optional_text('template', model.template)
  if (model.template or '') ~= '' then
    local chain = template_chain(root, check_id('template', model.template), known)
    flat = flatten_chain(chain)
    for i, template in ipairs(chain) do
      templates[i] = template.id
    end
  elseif offset then
    refuse('INVALID', 'mapping.offset counts the fields of a template, and the model has none')
  end
  local expansion = {model = model, channel = channel, templates = templates, unmapped = {}, metadata = flat.metadata}
  expansion.data = expand_fields('mapping.data', model.mapping.data or {}, channel, offset, flat.data, 'T', expansion.unmapped)
  expansion.action = expand_fields('mapping.action', model.mapping.action or {}, channel, offset, flat.action, 'C', expansion.unmapped)
  local inputs = {}
  for _, entry in ipairs(expansion.data) do
    inputs[entry.name] = true
  end
  check_list('computed', model.computed, computed_limit, check_computed_field)
  local computed, by_name = {}, {}
  merge_fields(computed, by_name, model.computed)
  local inherited = {}
  for _, field in ipairs(flat.computed) do
    if not by_name[field.name] then
      inherited[#inherited + 1] = field
    end
  end
  local own = {}
  for name in pairs(inputs) do
    own[name] = true
  end
  for name in pairs(by_name) do
    own[name] = true
  end
  local compile = compiler()
  local all = usable_computed(inherited, own, expansion.unmapped, compile)
  for _, field in ipairs(computed) do
    all[#all + 1] = field
  end
  check_formulas(all)
  expansion.computed = order_computed(all, inputs, compile)
  for name, value in pairs(model.metadata or {}) do
    expansion.metadata[name] = value
  end
  return expansion
end

-- layout_of returns the lines "name channel type point" in the order in which
-- they are read: one run for each hash.
local function layout_of(data)
  local runs, order = {}, {}
  for _, entry in ipairs(data) do
    local hash = entry.channel .. ' ' .. entry.kind
    if not runs[hash] then
      runs[hash] = {}
      order[#order + 1] = hash
    end
    table.insert(runs[hash], entry.name .. ' ' .. hash .. ' ' .. entry.point)
  end
  local lines = {}
  for _, hash in ipairs(order) do
    lines[#lines + 1] = table.concat(runs[hash], '\n')
  end
  return table.concat(lines, '\n')
end

-- encode_number writes a number with as many digits as it needs to be read back
-- the same; cjson keeps 14.
local function encode_number(number)
  local text = string.format('%.15g', number)
  return tonumber(text) == number and text or string.format('%.17g', number)
end

-- encode_list writes a list as JSON; cjson writes an empty one as an object.
local function encode_list(list, encode)
  local texts = {}
  for i, item in ipairs(list) do
    texts[i] = encode(item)
  end
  return '[' .. table.concat(texts, ',') .. ']'
end

-- encode_exact writes as cjson does, but for the numbers, and names in their order.
local function encode_exact(value)
  if type(value) == 'number' then
    return encode_number(value)
  elseif type(value) ~= 'table' then
    return cjson.encode(value)
  elseif #value > 0 then
    return encode_list(value, encode_exact)
  end
  local names, texts = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    texts[i] = cjson.encode(name) .. ':' .. encode_exact(value[name])
  end
  return '{' .. table.concat(texts, ',') .. '}'
end

local function actions_of(action)
  local lines = {}
  for i, entry in ipairs(action) do
    local field = entry.field
    lines[i] = table.concat({entry.name, entry.channel, entry.kind, entry.point,
      field.min and encode_number(field.min) or '-', field.max and encode_number(field.max) or '-',
      field.value_type or 'number'}, ' ')
  end
  return table.concat(lines, '\n')
end

-- unmap_model takes a stored model out of the reverse map and the indexes.
local function unmap_model(root, id)
  local call = redis.call
  local config, layout, actions, channel, template = unpack(call('HMGET', root .. 'model:' .. id, 'config', 'layout', 'actions', 'channel', 'template'))
  if not config then
    return false
  end
  layout, actions, template = layout or '', actions or '', template or ''
  for name, of_channel, kind, point in string.gmatch(layout .. '\n' .. actions, '(%S+) (%d+) (%u) (%d+)[^\n]*') do
    local reverse = 'reverse:' .. of_channel .. ':' .. kind
    local kept = {}
    for entry in string.gmatch(call('HGET', root .. reverse, point) or '', '%S+') do
      if entry ~= id .. ':' .. name then
        kept[#kept + 1] = entry
      end
    end
    if #kept > 0 then
      call('HSET', root .. reverse, point, table.concat(kept, ' '))
    else
      call('HDEL', root .. reverse, point)
      if call('EXISTS', root .. reverse) == 0 then
        forget_key(root, reverse)
      end
    end
  end
  index_remove(root, 'models', id)
  index_remove(root, 'models:by_channel:' .. channel, id)
  if template ~= '' then
    index_remove(root, 'models:by_template:' .. template, id)
  end
  call('DEL', root .. 'model:' .. id)
  forget_key(root, 'model:' .. id)
  return true
end

-- map_points enters the points of a model into the reverse map.
local function map_points(root, id, entries)
  local call = redis.call
  for _, entry in ipairs(entries) do
    local reverse = 'reverse:' .. entry.channel .. ':' .. entry.kind
    local others = call('HGET', root .. reverse, entry.point)
    call('HSET', root .. reverse, entry.point, (others and others .. ' ' or '') .. id .. ':' .. entry.name)
    note_key(root, reverse)
  end
end

-- touch_models makes everybody who holds something of the models look again.
local function touch_models(root)
  redis.call('INCR', root .. 'version')
end

-- store_model keeps an expanded model in place of the one of its id.
local function store_model(root, id, config, expansion)
  unmap_model(root, id)
  local template = expansion.templates[#expansion.templates] or ''
  local computed = #expansion.computed > 0 and encode_exact(expansion.computed) or ''
  redis.call('HSET', root .. 'model:' .. id, 'config', config, 'channel', expansion.channel, 'template', template,
    'layout', layout_of(expansion.data), 'actions', actions_of(expansion.action), 'computed', computed)
  note_key(root, 'model:' .. id)
  index_add(root, 'models', id)
  index_add(root, 'models:by_channel:' .. expansion.channel, id)
  if template ~= '' then
    index_add(root, 'models:by_template:' .. template, id)
  end
  map_points(root, id, expansion.data)
  map_points(root, id, expansion.action)
end

local model_limit = 5000            -- models of a site
local follower_limit = 1000         -- models and templates that one template may change at once
local follower_points = 2000        -- points of those models, together

local function decode_model(id, text)
  local model = decode_object('the model', text)
  if model.id ~= id then
    refuse('INVALID', 'the model calls itself ' .. shown(tostring(model.id)) .. ' and the key ' .. shown(id))
  end
  return model
end

local model_names = {id = true, name = true, template = true, mapping = true, computed = true, metadata = true}
local mapping_names = {channel = true, offset = true, data = true, action = true}

-- read_model returns the model in a document that everybody can read.
local function read_model(id, text)
  local model = decode_model(id, text)
  local plain = outline('the model', text)
  only_names('', model, model_names)
  only_names('mapping.', model.mapping, mapping_names)
  only_names_of('computed', model.computed, computed_names)
  check_bracket(plain, {'data', 'action'}, '[', 'an object: names and their points')
  check_bracket(plain, {'computed'}, '{', 'a list')
  check_bracket(plain, {'metadata'}, '[', 'an object')
  for mapping in string.gmatch(plain, '"mapping"%s*:%s*(%b{})') do
    if string.find(string.gsub(mapping, '"[^"]*"', ''), '%d[.eE]') then
      refuse('INVALID', 'mapping: channel, offset and points must be whole numbers, written with digits alone')
    end
  end
  return model
end

-- must_fit returns what check returns. What it refuses is told of the follower.
local function must_fit(what, id, check, ...)
  local fits, result = pcall(check, ...)
  if fits then
    return result
  elseif type(result) == 'table' and result.refused then
    refuse('CONFLICT', what .. ' ' .. shown(id) .. ' follows this template and would no longer fit: ' .. result.refused)
  end
  error(result)
end

-- expand_followers checks every template that extends a template, and expands
-- every model of it and of those. known holds the template as it is about to be.
local function expand_followers(root, template, known)
  local call = redis.call
  local followers, waiting, count, points = {}, {template}, 0, 0
  local function each(index, take)
    for _, id in ipairs(call('ZRANGE', root .. index, 0, -1)) do
      count = count + 1
      if count > follower_limit then
        refuse('CONFLICT', 'more than ' .. follower_limit .. ' models and templates follow template ' .. shown(template)
          .. ': reload the whole site instead')
      end
      take(id)
    end
  end
  while #waiting > 0 do
    local id = table.remove(waiting)
    each('templates:by_parent:' .. id, function(child)
      must_fit('template', child, check_template, root, find_template(root, child, known), known)
      waiting[#waiting + 1] = child
    end)
    each('models:by_template:' .. id, function(model)
      local config = call('HGET', root .. 'model:' .. model, 'config')
      local expansion = must_fit('model', model, expand_model, root, decode_model(model, config), known)
      points = points + #expansion.data + #expansion.action
      if points > follower_points then
        refuse('CONFLICT', 'the models that follow template ' .. shown(template) .. ' have more than ' .. follower_points
          .. ' points: reload the whole site instead')
      end
      followers[#followers + 1] = {id = model, config = config, expansion = expansion}
    end)
  end
  return followers
end

local function encode_entry(entry)
  local field = entry.field
  return encode_exact({name = entry.name, point = 'comsrv:' .. entry.channel .. ':' .. entry.kind .. ':' .. entry.point,
    unit = field.unit, description = field.description, min = field.min, max = field.max, value_type = field.value_type})
end

local function encode_expansion(expansion)
  local model, encode = expansion.model, encode_exact
  return '{"id":' .. encode(model.id) .. ',"name":' .. encode(model.name or '') .. ',"template":' .. encode(model.template or '')
    .. ',"templates":' .. encode_list(expansion.templates, encode)
    .. ',"data":' .. encode_list(expansion.data, encode_entry) .. ',"action":' .. encode_list(expansion.action, encode_entry)
    .. ',"computed":' .. encode_list(expansion.computed, encode) .. ',"unmapped":' .. encode_list(expansion.unmapped, encode)
    .. ',"metadata":' .. encode(expansion.metadata) .. '}'
end

-- clear_root removes everything below a root but its version.
local function clear_root(root)
  local call = redis.call
  local names = call('SMEMBERS', root .. 'keys')
  for first = 1, #names, 1000 do
    local doomed = {}
    for i = first, math.min(first + 999, #names) do
      doomed[#doomed + 1] = root .. names[i]
    end
    call('UNLINK', unpack(doomed))
  end
  call('DEL', root .. 'keys')
end
