package bench

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// decodingScript evaluates rules of two conditions as the system did that went
// before this one: each is read and decoded in every call, and so is every value
// that it names. KEYS[1] is the namespace; ARGV are the ids.
const decodingScript = `
local namespace, reply = KEYS[1], {}
for i, id in ipairs(ARGV) do
  local rule = cjson.decode(redis.call('HGET', namespace .. 'native:rule:' .. id, 'config'))
  local all, any = true, false
  for _, condition in ipairs(rule.conditions) do
    local hash, point = string.match(condition.source, '^(.+):(%d+)$')
    local number, holds = tonumber(redis.call('HGET', namespace .. hash, point)), false
    if condition.operator == '>' then
      holds = number > condition.value
    elseif condition.operator == '>=' then
      holds = number >= condition.value
    end
    all, any = all and holds, any or holds
  end
  local holds = all
  if rule.logic == 'OR' then
    holds = any
  end
  reply[i] = holds and 'active' or 'idle'
end
return reply
`

// storeForDecoding stores rules where the script looks for them.
func (s *server) storeForDecoding(ctx context.Context, list []ems.Rule) error {
	pipeline := s.raw.Pipeline()
	for _, rule := range list {
		text, err := json.Marshal(rule)
		if err != nil {
			return ems.Errorf(ems.CodeInternal, "rule %s: %w", rule.ID, err)
		}
		pipeline.HSet(ctx, s.bound.db.Namespace().Of("native:rule:"+rule.ID), "config", text)
	}
	_, err := pipeline.Exec(ctx)
	return s.fault(err)
}

// batchOfRules evaluates all rules of the bound site in one call: with the
// library, and with the script.
func (s *server) batchOfRules() []workload {
	ids := make([]string, boundRules)
	args := make([]any, boundRules)
	for n := range boundRules {
		ids[n], args[n] = boundID(n), boundID(n)
	}
	evaluate := func(ctx context.Context) ([]ems.RuleStatus, error) { return s.bound.db.EvaluateRules(ctx, ids) }
	library := function("rule_batch_1000", func(ctx context.Context, _ int) error { return allIdle(evaluate(ctx)) })
	library.prepare = s.seedBound
	library.verify = func(ctx context.Context, _, n int) error {
		point := n % widePoints
		if err := s.proveBatch(ctx, point, evaluate); err != nil {
			return err
		}
		for _, id := range boundTo(point) {
			s.bound.fired[id]++
		}
		return s.bound.verifyRules(ctx)
	}
	script := redis.NewScript(decodingScript)
	decode := func(ctx context.Context) ([]ems.RuleStatus, error) {
		texts, err := script.EvalSha(ctx, s.raw, []string{string(s.bound.db.Namespace())}, args...).StringSlice()
		states := make([]ems.RuleStatus, len(texts))
		for i, text := range texts {
			states[i] = ems.RuleStatus(text)
		}
		return states, s.fault(err)
	}
	decoding := single("decoding_batch_1000", "evalsha", func(ctx context.Context, _ int) error { return allIdle(decode(ctx)) })
	decoding.prepare = func(ctx context.Context) error {
		if err := s.seedBound(ctx); err != nil {
			return err
		}
		return s.fault(script.Load(ctx, s.raw).Err())
	}
	decoding.verify = func(ctx context.Context, _, n int) error { return s.proveBatch(ctx, n%widePoints, decode) }
	return []workload{library, decoding}
}

// allIdle reports what is wrong with the states of the bound rules.
func allIdle(states []ems.RuleStatus, err error) error { return onlyActive(states, err, nil) }

// onlyActive reports what is wrong with the states of the bound rules when those
// of some ids should be active.
func onlyActive(states []ems.RuleStatus, err error, active []string) error {
	if err != nil {
		return err
	}
	if len(states) != boundRules {
		return ems.Errorf(ems.CodeInternal, "%d rules were evaluated instead of %d", len(states), boundRules)
	}
	for n, state := range states {
		want := ems.RuleIdle
		if active != nil && slices.Contains(active, boundID(n)) {
			want = ems.RuleActive
		}
		if state != want {
			return ems.Errorf(ems.CodeInternal, "rule %s is %s instead of %s", boundID(n), state, want)
		}
	}
	return nil
}

// proveBatch puts a value that trips two rules past the library into Redis, where
// only an evaluation finds it, and takes it back.
func (s *server) proveBatch(ctx context.Context, point int, evaluate func(context.Context) ([]ems.RuleStatus, error)) error {
	key, field := s.bound.db.Namespace().Values(wideChannel, ems.Telemetry), strconv.Itoa(point+1)
	before, err := s.raw.HGet(ctx, key, field).Result()
	if err != nil {
		return s.fault(err)
	}
	tripping, err := ems.FormatNumber(2 * beyond)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		text   string
		active []string
	}{{tripping, boundTo(point)}, {before, nil}} {
		if err := s.raw.HSet(ctx, key, field, step.text).Err(); err != nil {
			return s.fault(err)
		}
		states, err := evaluate(ctx)
		if err := onlyActive(states, err, step.active); err != nil {
			return err
		}
	}
	return nil
}
