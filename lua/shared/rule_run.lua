-- Running the rules of the points that a batch brought: which of them are bound to
-- these, what they read beside them, and who has to take a step.

local standing_few = 50             -- rules not idle that are read in one go

-- rules_due returns the entries of bound for the good points of a batch, and the
-- numbers of those points by slot; nil where no rule watches them. The texts were
-- checked: adding 0 reads them in half the time that tonumber takes.
local function rules_due(bound, args, first)
  local due, n, count = nil, nil, 0
  for i = first, #args, 2 do
    local entry = bound[args[i]]
    if entry then
      due, n, count = due or {}, n or {}, count + 1
      due[count], n[entry.slot] = entry, args[i + 1] + 0
    end
  end
  return due, n
end

-- in_doubt returns the entries of bound for the samples of a batch that are not
-- good, nil where there are none.
local function in_doubt(bound, args, first)
  local doubt
  for i = 5, first - 1, 3 do
    doubt = doubt or {}
    doubt[#doubt + 1] = bound[args[i]]
  end
  return doubt
end

-- flat_reads returns gathered points in lists that lie close together in memory: key
-- and a node of the hash, then slot and point of each. Of a thousand entries few are
-- met twice within short.
local function flat_reads(lists)
  local flat = {}
  for l, list in ipairs(lists) do
    local reads = {list.node.key, list.node}
    for i, slot in ipairs(list.slots) do
      reads[#reads + 1] = slot
      reads[#reads + 1] = list.points[i]
    end
    flat[l] = reads
  end
  return flat
end

-- plan_entry works out, once, what an entry needs: its rules, the program of those
-- that have code, the points which that reads, and the rules that always step.
local function plan_entry(namespace, cache, entry)
  local rules, coded, codes = enabled_rules(namespace, cache, entry.ids), {}, {}
  entry.rules, entry.by_id, entry.rule_ids, entry.always, entry.doubters = rules, {}, {}, {}, {}
  for i, rule in ipairs(rules) do
    entry.by_id[rule.id], entry.rule_ids[i], codes[i] = rule, rule.id, rule.code
    if rule.code then
      coded[#coded + 1] = rule
    else
      entry.always[#entry.always + 1] = rule
    end
    if rule.bad_input ~= 'ignore' then
      entry.doubters[#entry.doubters + 1] = rule
    end
  end
  entry.reads, entry.program = flat_reads(gather_nodes(coded)), make_program(codes, #rules)
end

-- join_reads gathers what entries read and is not in n yet, by hash, and enters it
-- there as unknown.
local function join_reads(due, n)
  local wanted = {}
  for e = 1, #due do
    local lists = due[e].reads
    for l = 1, #lists do
      local reads = lists[l]
      local joined = wanted[reads[1]]
      if not joined then
        joined = {node = reads[2], points = {}, slots = {}, count = 0}
        wanted[reads[1]], wanted[#wanted + 1] = joined, joined
      end
      local count = joined.count
      for i = 3, #reads, 2 do
        local slot = reads[i]
        if n[slot] == nil then
          count = count + 1
          n[slot], joined.slots[count], joined.points[count] = unknown, slot, reads[i + 1]
        end
      end
      joined.count = count
    end
  end
  return wanted
end

-- read_numbers adds to n, which holds the numbers that came with the batch, what the
-- programs of entries read beside them.
local function read_numbers(ctx, due, n)
  local wanted = join_reads(due, n)
  for w = 1, #wanted do
    local joined = wanted[w]
    local slots = joined.slots
    local texts = joined.count > 0 and read_hash(ctx, joined.node, joined.points) or {}
    for i = 1, #texts do
      n[slots[i]] = texts[i] and tonumber(texts[i]) or unknown
    end
  end
end

-- standing_of tells step every rule of entries that is not idle.
local function standing_of(namespace, due, step)
  local key = namespace .. 'rulesrv:standing'
  local count = redis.call('HLEN', key)
  if count == 0 then
    return
  elseif count <= standing_few then
    for _, id in ipairs(redis.call('HKEYS', key)) do
      for e = 1, #due do
        step(due[e].by_id[id])
      end
    end
    return
  end
  for e = 1, #due do
    local ids = due[e].rule_ids
    for i, standing in ipairs(#ids > 0 and hmget(key, ids) or {}) do
      step(standing and due[e].rules[i])
    end
  end
end

-- rules_to_step returns the rules of entries that have to take a step: those that
-- hold, that have no code, that are not idle, and of the entries in doubt those that
-- do not ignore it.
local function rules_to_step(namespace, due, n, doubt)
  local moving, seen, found = {}, {}, {}
  local function step(rule)
    if rule and not seen[rule.id] then
      seen[rule.id], moving[#moving + 1] = true, rule
    end
  end
  for e = 1, #due do
    local entry = due[e]
    run_program(entry.program, n, found)
    if found[1] then
      for i = 1, #found do
        step(entry.rules[found[i]])
      end
      found = {}
    end
    for i = 1, #entry.always do
      step(entry.always[i])
    end
  end
  for e = 1, #doubt do
    for _, rule in ipairs(doubt[e].doubters) do
      step(rule)
    end
  end
  standing_of(namespace, due, step)
  return moving
end

-- run_rules evaluates what rules_due and in_doubt found. It returns how many rules
-- changed.
local function run_rules(namespace, cache, due, n, doubt, now)
  local ctx = rule_context(namespace, now)
  due, n, doubt = due or {}, n or {}, doubt or {}
  for _, entries in ipairs({due, doubt}) do
    for e = 1, #entries do
      if not entries[e].program then
        plan_entry(namespace, cache, entries[e])
      end
    end
  end
  read_numbers(ctx, due, n)
  local moving = rules_to_step(namespace, due, n, doubt)
  if #moving == 0 then
    return 0
  end
  for e = 1, #due do
    ctx.numbers[due[e].slot] = n[due[e].slot]
  end
  prefetch(ctx, gather_nodes(moving))
  return advance(ctx, moving)
end
