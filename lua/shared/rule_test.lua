-- Trying rules out: the same conditions and the same state machine as in service,
-- without the actions, and without a write.

-- test_live evaluates a rule once against what is stored now.
local function test_live(namespace, config, now)
  local rule = compile_rule(namespace, config)
  local ctx = rule_context(namespace, now)
  ctx.memory = {}
  rule.scheduled = false
  local outcome = judge(ctx, rule, 'idle')
  local word = outcome == nil and 'unknown' or outcome and 'true' or 'false'
  return {'', now, 'idle', word, values_seen(ctx, rule)}
end

-- next_turn returns when a rule may change after a time though no value does: a
-- delay or a cooldown ends, a schedule turns, a window moves on. nil is never.
local function next_turn(rule, trial)
  local turn
  local function consider(at)
    if at > trial.at and (not turn or at < turn) then
      turn = at
    end
  end
  if delay_of(rule, trial.state) then
    consider(trial.since + delay_of(rule, trial.state))
  elseif trial.state == 'idle' and trial.last_fired then
    consider(trial.last_fired + rule.cooldown)
  end
  for _, window in ipairs(rule.windows) do
    consider(window[1])
    consider(window[2])
  end
  if rule.window and trial.at < trial.valued + rule.window then
    consider(trial.at + math.max(tick_period, math.ceil(rule.window / window_buckets)))
  end
  return turn
end

-- trial_step evaluates a rule at a time and notes in reply a change of state.
local function trial_step(namespace, rule, trial, at, reply)
  local ctx = rule_context(namespace, string.format('%.0f', at), trial.numbers)
  ctx.given, ctx.memory, trial.at = true, trial.memory, at
  local outcome = judge(ctx, rule, trial.state)
  local to, since = next_state(rule, trial.state, trial.since, trial.last_fired, outcome, at, ctx.event)
  local function tell(from, state)
    for _, text in ipairs({ctx.now, from, state, values_seen(ctx, rule)}) do
      reply[#reply + 1] = text
    end
  end
  if to ~= trial.state then
    tell(trial.state, to)
    if to == 'active' and trial.state ~= 'clearing' then
      trial.last_fired = at
    end
    if rule.pulse and to == 'active' then
      tell(to, 'idle')
      to = 'idle'
    end
  end
  trial.state, trial.since = to, tonumber(since)
end

-- check_windows checks when a rule that is tried out is in force: pairs of times.
local function check_windows(windows)
  check_types('', {windows = windows}, {'windows', 'table'})
  if #(windows or {}) > 100 then
    refuse('INVALID', 'windows must be a list of at most 100: ask in parts')
  end
  for i, window in ipairs(windows or {}) do
    if type(window) ~= 'table' or not is_finite(window[1]) or not is_finite(window[2]) then
      refuse('INVALID', 'windows[' .. (i - 1) .. '] must be two times')
    end
  end
  return windows or {}
end

-- A trial is handed over as a list of these, and of their types.
local trial_fields = {'state', 'since', 'at', 'valued', 'last_fired', 'numbers', 'memory'}
local trial_types = {'string', 'number', 'number', 'number', 'number', 'table', 'table'}

local function hand_over(trial)
  local list = {}
  for i, name in ipairs(trial_fields) do
    list[i] = trial[name] or -1 -- it has not fired
  end
  return cmsgpack.pack(list)
end

-- take_trial returns what the call before handed over, or the beginning.
local function take_trial(handed)
  if handed == '' then
    return {state = 'idle', since = 0, at = 0, valued = 0, numbers = {}, memory = {}}
  end
  local sound, list = pcall(cmsgpack.unpack, handed)
  local trial = {}
  for i, name in ipairs(trial_fields) do
    sound = sound and type(list) == 'table' and type(list[i]) == trial_types[i]
    trial[name] = sound and list[i]
  end
  if not sound then
    refuse('INVALID', 'what was handed over is not what a test replied')
  end
  trial.last_fired = trial.last_fired >= 0 and trial.last_fired or nil
  return trial
end

-- test_given runs a rule over values in the order of time, as if rule_tick came at
-- every turn between them. handed is what the call before replied.
local function test_given(namespace, config, handed, args)
  local rule = compile_rule(namespace, config)
  rule.windows = check_windows(config.windows)
  local trial, reply, slots = take_trial(handed), {''}, {}
  for i = 4, #args, 3 do
    local time, source, number = tonumber(check_time('time', args[i])), args[i + 1], args[i + 2]
    if time < trial.at then
      refuse('INVALID', 'time ' .. args[i] .. ' is before the one ahead of it')
    end
    slots[source] = slots[source] or source_node(namespace, source).slot
    local turn = trial.at > 0 and next_turn(rule, trial)
    while turn and turn < time do
      trial_step(namespace, rule, trial, turn, reply)
      turn = next_turn(rule, trial)
    end
    trial.numbers[slots[source]] = number ~= '' and tonumber(check_number('the number', number)) or false
    trial.valued = time
    -- What comes at one time is one event, as it is in a batch.
    if args[i + 3] ~= args[i] then
      trial_step(namespace, rule, trial, time, reply)
    end
  end
  reply[1] = hand_over(trial)
  return reply
end
