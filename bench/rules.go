package bench

import (
	"context"
	"fmt"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// The sites of the rules have a channel like the others, of which a batch brings
// little: in one no rule is stored; in one every point is watched by two rules;
// and in one all rules are about other channels.
const (
	wideChannel = ems.ChannelID(1)
	widePoints  = 1000
	wideChanged = 10
	boundRules  = 1000
)

func wideBlock() block { return block{channel: wideChannel, size: widePoints} }

// Loose rules are on channels of their own, each on two points that no other rule
// watches.
const (
	firstLoose  = ems.ChannelID(1001)
	loosePoints = 200
	looseRules  = loosePoints / 2 // of each channel
)

func looseBlock(n int) block { return block{channel: firstLoose + ems.ChannelID(n), size: loosePoints} }

func looseID(n, rule int) string { return fmt.Sprintf("loose_%03d_%03d", n, rule) }

func boundID(n int) string { return fmt.Sprintf("bound_%04d", n) }

// beyond is what no value of the bench reaches, and what rules wait for.
const beyond = 1e6

// neverFires is a rule that compares two points with what no value reaches. They
// are joined by OR, so that both are compared each time.
func neverFires(id string, b block, first, second int) ems.Rule {
	return ems.Rule{
		ID: id, Name: "never fires", Logic: ems.Any,
		Conditions: []ems.Condition{
			{Source: b.source(first), Operator: ">", Value: ems.Number(beyond)},
			{Source: b.source(second), Operator: ">=", Value: ems.Number(beyond)},
		},
		Actions: []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{
			"level": string(ems.Warning), "title": "a value of the bench is beyond all bounds",
		}}},
	}
}

// seedAttempts is how often rules are sent: a busy machine may not answer in time,
// and what is stored again stays the same.
const seedAttempts = 3

// seedRules stores rules beside those that are there.
func (s *site) seedRules(ctx context.Context, list []ems.Rule) error {
	refusals, err := s.db.UpsertRules(ctx, list)
	for attempt := 1; ems.CodeOf(err) == ems.CodeUnavailable && ctx.Err() == nil && attempt < seedAttempts; attempt++ {
		refusals, err = s.db.UpsertRules(ctx, list)
	}
	if err != nil {
		return err
	}
	for _, refusal := range refusals {
		if refusal != nil {
			return refusal
		}
	}
	s.rules += len(list)
	return nil
}

func (s *server) seedPlain(ctx context.Context) error {
	return s.prepare(ctx, s.plain, func() error { return s.plain.seedBlock(ctx, s.clock, wideBlock()) })
}

// boundPair returns the points that a rule watches: half a block apart, so that a
// small batch leaves one of them to be read from Redis.
func boundPair(rule int) (first, second int) { return rule, (rule + widePoints/2) % widePoints }

func (s *server) seedBound(ctx context.Context) error {
	return s.prepare(ctx, s.bound, func() error {
		var list []ems.Rule
		for n := range boundRules {
			first, second := boundPair(n)
			list = append(list, neverFires(boundID(n), wideBlock(), first, second))
		}
		if err := s.bound.seedRules(ctx, list); err != nil {
			return err
		}
		if err := s.bound.seedBlock(ctx, s.clock, wideBlock()); err != nil {
			return err
		}
		return s.storeForDecoding(ctx, list)
	})
}

func (s *server) seedLarge(ctx context.Context) error {
	return s.prepare(ctx, s.large, func() error {
		for n := range s.sizes.looseChannels {
			var list []ems.Rule
			for rule := range looseRules {
				list = append(list, neverFires(looseID(n, rule), looseBlock(n), 2*rule, 2*rule+1))
			}
			if err := s.large.seedRules(ctx, list); err != nil {
				return err
			}
			if err := s.large.seedBlock(ctx, s.clock, looseBlock(n)); err != nil {
				return err
			}
		}
		if err := s.large.seedBlock(ctx, s.clock, wideBlock()); err != nil {
			return err
		}
		return s.large.trimHistory(ctx)
	})
}

// rulesOfBatch are cases that send the same batches to channels that are alike,
// with rules in different places.
func (s *server) rulesOfBatch() []workload {
	none := s.plain.ingest("ingest_10_no_rules", s.clock, wideBlock(), wideChanged)
	none.prepare = s.seedPlain
	bound := s.bound.ingest("ingest_10_rules_bound", s.clock, wideBlock(), wideChanged)
	bound.prepare = s.seedBound
	stored := bound.verify
	bound.verify = func(ctx context.Context, lane, n int) error {
		if err := stored(ctx, lane, n); err != nil {
			return err
		}
		return s.proveBound(ctx, n*wideChanged%widePoints)
	}
	elsewhere := s.large.ingest("ingest_10_rules_elsewhere", s.clock, wideBlock(), wideChanged)
	elsewhere.prepare = s.seedLarge
	return []workload{none, bound, elsewhere}
}

// boundTo returns the rules that watch a point of the wide block.
func boundTo(point int) []string {
	return []string{boundID(point), boundID((point + widePoints/2) % widePoints)}
}

// proveBound lets a value of the block trip the rules that watch it, and takes it
// back: rules that were not looked at would have cost nothing.
func (s *server) proveBound(ctx context.Context, point int) error {
	for _, step := range []struct {
		number float64
		status ems.RuleStatus
	}{{2 * beyond, ems.RuleActive}, {number(0, point), ems.RuleIdle}} {
		tripped := wideBlock().batch(s.clock.Now(), 0, point, 1)
		tripped.Samples[0].Number = step.number
		if err := s.bound.db.Ingest(ctx, tripped); err != nil {
			return err
		}
		for _, id := range boundTo(point) {
			state, err := s.bound.db.Rule(ctx, id)
			if err != nil {
				return err
			}
			if state.Status != step.status {
				return ems.Errorf(ems.CodeInternal, "rule %s is %s instead of %s after point %d became %v", id, state.Status, step.status, point+1, step.number)
			}
		}
	}
	for _, id := range boundTo(point) {
		s.bound.fired[id]++
	}
	return nil
}

// rulesAtOnce is how many rules one call lists.
const rulesAtOnce = 1000

// verifyRules proves that all rules are there and at rest, and that none has
// fired but to prove that it can.
func (s *site) verifyRules(ctx context.Context) error {
	var states []rtdb.RuleState
	for after := ""; ; after = states[len(states)-1].Rule.ID {
		page, err := s.db.Rules(ctx, after, rulesAtOnce)
		if err != nil {
			return err
		}
		states = append(states, page...)
		if len(page) < rulesAtOnce {
			break
		}
	}
	if len(states) != s.rules {
		return ems.Errorf(ems.CodeInternal, "redis holds %d rules of the site %s instead of %d", len(states), s.name, s.rules)
	}
	for _, state := range states {
		if state.Fired != s.fired[state.Rule.ID] || state.Status != ems.RuleIdle {
			return ems.Errorf(ems.CodeInternal, "rule %s fired %d times and is %s: no rule of the bench may fire", state.Rule.ID, state.Fired, state.Status)
		}
	}
	return nil
}
