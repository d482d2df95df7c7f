-- Templates: which fields every model of a kind has. All keys of models lie
-- below a root, "modsrv:" for those in use, "modsrv:staged:" for a site that is
-- being prepared; whatever is stored there is noted in the root's set of keys.
-- One at a time prepares a site: "modsrv:staged:owner" names who.

local template_depth = 16           -- templates that extend one another
local field_limit = 1000            -- data and actions of a model, each
local computed_limit = 200
local formula_limit = 20000         -- bytes of all formulas of a model or template

-- own_stage returns the root of the site that somebody prepares.
local function own_stage(namespace, preparer)
  local staged = namespace .. 'modsrv:staged:'
  if redis.call('GET', staged .. 'owner') ~= check_id('who prepares', preparer) then
    refuse('CONFLICT', 'somebody else prepares a site now: begin again')
  end
  return staged
end

-- model_root returns where to store, from the last argument of an upsert, and
-- whether that is not in use yet.
local function model_root(namespace, preparer)
  if preparer == nil or preparer == '' then
    return namespace .. 'modsrv:', false
  end
  return own_stage(namespace, preparer), true
end

local function note_key(root, name)
  redis.call('SADD', root .. 'keys', name)
end

local function forget_key(root, name)
  redis.call('SREM', root .. 'keys', name)
end

-- index_add and index_remove keep a lexical index of ids.
local function index_add(root, name, id)
  redis.call('ZADD', root .. name, 0, id)
  note_key(root, name)
end

local function index_remove(root, name, id)
  redis.call('ZREM', root .. name, id)
  if redis.call('EXISTS', root .. name) == 0 then
    forget_key(root, name)
  end
end

-- find_template returns a template, or false. known holds what was read in this
-- call, and templates that are about to be stored.
local function find_template(root, id, known)
  if known[id] == nil then
    local stored = redis.call('GET', root .. 'template:' .. id)
    known[id] = stored and decode_object('template ' .. shown(id), stored) or false
  end
  return known[id]
end

-- template_chain returns the template and those that it extends, root first.
local function template_chain(root, id, known)
  local chain, seen, path = {}, {}, {}
  while id and id ~= '' do
    path[#path + 1] = id
    if seen[id] then
      refuse('INVALID', 'templates extend each other in a circle: ' .. table.concat(path, ' -> '))
    elseif #chain >= template_depth then
      refuse('INVALID', 'templates extend one another more than ' .. template_depth .. ' deep')
    end
    seen[id] = true
    local template = find_template(root, id, known)
    if not template then
      refuse('NOT_FOUND', 'no template ' .. shown(id))
    end
    table.insert(chain, 1, template)
    id = template.extends
  end
  return chain
end

-- merge_fields lays the fields of one template over those of its ancestors: a
-- field of the same name changes the keys that it gives.
local function merge_fields(merged, by_name, fields)
  for _, field in ipairs(fields or {}) do
    local known = by_name[field.name]
    if not known then
      known = {}
      merged[#merged + 1] = known
      by_name[field.name] = known
    end
    for key, value in pairs(field) do
      known[key] = value
    end
    if field.expression ~= nil then
      known['function'], known.of, known.factor, known.offset = nil, nil, nil, nil
    elseif field['function'] ~= nil then
      known.expression = nil
      if field['function'] ~= 'scale' then
        known.factor, known.offset = field.factor, field.offset
      end
    end
  end
end

-- place_fields gives each field its type and its place among the fields of it.
local function place_fields(what, fields, fallback)
  local last = {}
  for _, field in ipairs(fields) do
    field.type = field.type or fallback
    field.point = field.point or (last[field.type] or 0) + 1
    last[field.type] = field.point
    if fallback == 'C' then
      check_writable(field.type)
    end
    if field.min and field.max and field.min > field.max then
      refuse('INVALID', what .. ' ' .. field.name .. ': min is above max')
    end
  end
  return fields
end

-- flatten_chain returns {data, action, computed, metadata} of a chain.
local function flatten_chain(chain)
  local flat = {data = {}, action = {}, computed = {}, metadata = {}, by_name = {data = {}, action = {}, computed = {}}}
  for _, template in ipairs(chain) do
    for _, list in ipairs({'data', 'action', 'computed'}) do
      merge_fields(flat[list], flat.by_name[list], template[list])
    end
    for name, value in pairs(template.metadata or {}) do
      flat.metadata[name] = value
    end
  end
  place_fields('data', flat.data, 'T')
  place_fields('action', flat.action, 'C')
  if #flat.data > field_limit or #flat.action > field_limit or #flat.computed > computed_limit then
    refuse('INVALID', 'more than ' .. field_limit .. ' data or actions, or more than ' .. computed_limit .. ' computed values')
  end
  return flat
end

local function check_optional_text(what, value)
  if value ~= nil and type(value) ~= 'string' then
    refuse('INVALID', what .. ' must be a text')
  end
end

-- check_named checks what all fields have.
local function check_named(what, field)
  if type(field) ~= 'table' or type(field.name) ~= 'string' then
    refuse('INVALID', what .. '.name must be a text')
  end
  check_id(what .. '.name', field.name)
  check_optional_text(what .. '.unit', field.unit)
  check_optional_text(what .. '.description', field.description)
end

local value_types = {number = true, integer = true, bool = true}

-- check_field checks one named value or action as it stands in a template.
local function check_field(what, field)
  check_named(what, field)
  finite_or(what .. '.min', field.min)
  finite_or(what .. '.max', field.max)
  if field.min and field.max and field.min > field.max then
    refuse('INVALID', what .. '.min is above max')
  end
  if field.type ~= nil then
    check_type(tostring(field.type))
  end
  if field.point ~= nil and (type(field.point) ~= 'number' or field.point < 1 or field.point > 4294967295 or field.point % 1 ~= 0) then
    refuse('INVALID', what .. '.point must be a whole number of 1 or more')
  end
  if field.value_type ~= nil and not value_types[field.value_type] then
    refuse('INVALID', what .. '.value_type ' .. shown(tostring(field.value_type)) .. ' is unknown: use number, integer or bool')
  end
end

-- check_computed_field checks a computed value. One that changes an inherited one
-- may leave its formula alone.
local function check_computed_field(what, field, inherits)
  check_named(what, field)
  finite_or(what .. '.factor', field.factor)
  finite_or(what .. '.offset', field.offset)
  if not inherits or field['function'] ~= nil and field.of ~= nil or field.expression ~= nil then
    compile_formula(what, field)
  end
end

-- check_list checks each entry of a list of named things.
local function check_list(what, list, limit, check)
  if list == nil then
    return
  elseif type(list) ~= 'table' or next(list) ~= nil and #list == 0 then
    refuse('INVALID', what .. ' must be a list')
  elseif #list > limit then
    refuse('INVALID', what .. ' has more than ' .. limit .. ' entries')
  end
  local seen = {}
  for i, entry in ipairs(list) do
    check(what .. '[' .. (i - 1) .. ']', entry)
    if seen[entry.name] then
      refuse('INVALID', what .. '[' .. (i - 1) .. '].name ' .. shown(entry.name) .. ' stands there twice')
    end
    seen[entry.name] = true
  end
end

local function check_metadata(metadata)
  if metadata ~= nil and (type(metadata) ~= 'table' or #metadata > 0) then
    refuse('INVALID', 'metadata must be an object')
  end
end

-- outline returns a document for a look at its form, with no brackets but those of
-- JSON, and without metadata, which may hold anything. It refuses what is not JSON.
local function outline(what, text)
  local plain = string.gsub(check_json(what, text), '"[^"]*"', function(quoted)
    return (string.gsub(quoted, '[%[%]{}]', ''))
  end)
  plain = string.gsub(plain, '("metadata"%s*:%s*)%b{}', '%1{}')
  -- A name with an escaped character is the same name to some and another to others.
  if string.find(string.gsub(text, '\\.', '\1'), '"[^"]*\1[^"]*"%s*:') then
    refuse('INVALID', what .. ' has an escaped character in a name')
  end
  return plain
end

-- only_names refuses a name that an object does not have: to some readers "Data"
-- is the same as "data".
local function only_names(path, object, names)
  if type(object) == 'table' then
    for name in pairs(object) do
      if not names[name] then
        refuse('INVALID', path .. shown(tostring(name)) .. ' is not known')
      end
    end
  end
end

local function only_names_of(list, objects, names)
  if type(objects) == 'table' then
    for i, object in ipairs(objects) do
      only_names(list .. '[' .. (i - 1) .. '].', object, names)
    end
  end
end

local template_names = {id = true, name = true, description = true, extends = true, data = true, action = true, computed = true, metadata = true}
local field_names = {name = true, unit = true, description = true, type = true, point = true, min = true, max = true, value_type = true}
local computed_names = {name = true, unit = true, description = true, ['function'] = true, of = true, factor = true, offset = true, expression = true}

-- check_bracket refuses a bracket after a name: to the decoder [] and {} are the same.
local function check_bracket(plain, names, bracket, expected)
  for _, name in ipairs(names) do
    if string.find(plain, '"' .. name .. '"%s*:%s*%' .. bracket) then
      refuse('INVALID', name .. ' must be ' .. expected)
    end
  end
end

-- read_template returns the template in a document that everybody can read.
local function read_template(id, text)
  local template = decode_object('the template', text)
  local plain = outline('the template', text)
  only_names('', template, template_names)
  only_names_of('data', template.data, field_names)
  only_names_of('action', template.action, field_names)
  only_names_of('computed', template.computed, computed_names)
  check_bracket(plain, {'data', 'action', 'computed'}, '{', 'a list')
  check_bracket(plain, {'metadata'}, '[', 'an object')
  if string.find(plain, '"point"%s*:%s*%-?%d+[.eE]') then
    refuse('INVALID', 'a point must be a whole number, written with digits alone')
  end
  if template.id ~= id then
    refuse('INVALID', 'the template calls itself ' .. shown(tostring(template.id)) .. ' and the key ' .. shown(id))
  end
  return template
end

-- compiler returns compile_formula with a memory, for one call.
local function compiler()
  local done = {}
  return function(field)
    local known = done[field]
    if not known then
      known = {compile_formula('computed ' .. field.name, field)}
      done[field] = known
    end
    return known[1], known[2]
  end
end

-- check_formulas bounds the computed values of a model or a template together.
local function check_formulas(fields)
  local bytes = 0
  for _, field in ipairs(fields) do
    bytes = bytes + (type(field.expression) == 'string' and #field.expression or 0)
    for _, name in ipairs(type(field.of) == 'table' and field.of or {}) do
      bytes = bytes + (type(name) == 'string' and #name or 0)
    end
  end
  if #fields > computed_limit or bytes > formula_limit then
    refuse('INVALID', 'computed has more than ' .. computed_limit .. ' values, or formulas of more than ' .. formula_limit .. ' bytes together')
  end
end

-- order_computed returns the computed fields, each after those that it needs.
-- inputs are the names of data by which they may be fed.
local function order_computed(fields, inputs, compile)
  local by_name, state, ordered = {}, {}, {}
  for _, field in ipairs(fields) do
    if inputs[field.name] then
      refuse('INVALID', 'computed ' .. field.name .. ' has the name of a data value')
    end
    by_name[field.name] = field
  end
  local function visit(field, path)
    path = path .. field.name
    if state[field.name] == 'open' then
      refuse('INVALID', 'computed values depend on each other in a circle: ' .. path)
    elseif state[field.name] == 'done' then
      return
    end
    state[field.name] = 'open'
    local _, names = compile(field)
    for _, name in ipairs(names) do
      if by_name[name] then
        visit(by_name[name], path .. ' -> ')
      elseif not inputs[name] then
        refuse('INVALID', 'computed ' .. field.name .. ' needs ' .. shown(name) .. ', which the model does not have')
      end
    end
    state[field.name] = 'done'
    ordered[#ordered + 1] = field
  end
  for _, field in ipairs(fields) do
    visit(field, '')
  end
  return ordered
end

-- check_template checks a template by itself and within its chain, which known
-- must hold it for.
local function check_template(root, template, known)
  check_optional_text('name', template.name)
  check_optional_text('description', template.description)
  check_metadata(template.metadata)
  check_optional_text('extends', template.extends)
  if (template.extends or '') ~= '' then
    check_id('extends', template.extends)
  end
  check_list('data', template.data, field_limit, check_field)
  check_list('action', template.action, field_limit, check_field)
  check_list('computed', template.computed, computed_limit, function(what, field)
    check_computed_field(what, field, (template.extends or '') ~= '')
  end)
  local flat = flatten_chain(template_chain(root, template.id, known))
  local inputs = {}
  for _, field in ipairs(flat.data) do
    inputs[field.name] = true
  end
  check_formulas(flat.computed)
  order_computed(flat.computed, inputs, compiler())
end
