package rtdb_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of the library that the reference shares with it, in milliseconds.
const (
	staleAfterMS = 10_000
	tickPeriod   = 1000
	inputPause   = 100
)

// referenceRule is a rule of two comparisons, "point 1 > 10" and "point 2 < 5",
// written down once more without Redis. Times are Unix milliseconds; those that
// are not set are negative.
type referenceRule struct {
	logic      ems.Logic
	hysteresis float64
	onDelay    int64
	offDelay   int64
	cooldown   int64
	badInput   ems.BadInput

	status    ems.RuleStatus
	since     int64
	lastFired int64
	due       int64 // when rule_tick is to look at it
	fired     int64
	disabled  bool
	inputs    [2]referenceInput
	succeeded int64 // when the channel was last read
	gap       bool  // it was read after a gap, and rule_tick was not there yet
	moves     []string
}

type referenceInput struct {
	number float64
	read   bool
	bad    bool
}

func (r *referenceRule) ticks() bool {
	return r.badInput == ems.BadInputFalse || r.badInput == ems.BadInputAlarm
}

func (r *referenceRule) delay() int64 {
	switch r.status {
	case ems.RulePending:
		return r.onDelay
	case ems.RuleClearing:
		return r.offDelay
	default:
		return -1
	}
}

func (r *referenceRule) usable(i int, now int64) bool {
	return r.inputs[i].read && !r.inputs[i].bad && now-r.succeeded <= staleAfterMS
}

// outcome is 1, 0 or -1 for unknown.
func (r *referenceRule) outcome(now int64) int {
	band := 0.0
	if r.status == ems.RuleActive || r.status == ems.RuleClearing {
		band = r.hysteresis
	}
	if r.logic == ems.None { // it lets go where one of them holds, and by that much
		band = -band
	}
	holding, unknown := 0, 0
	for i, input := range r.inputs {
		switch {
		case !r.usable(i, now):
			if r.badInput != ems.BadInputFalse {
				unknown++
			}
		case i == 0 && input.number > 10-band || i == 1 && input.number < 5+band:
			holding++
		}
	}
	switch {
	case r.logic == ems.All && holding+unknown < 2, r.logic == ems.None && holding > 0:
		return 0
	case r.logic == ems.Any && holding > 0, r.logic == ems.All && holding == 2:
		return 1
	case unknown > 0:
		return -1
	case r.logic == ems.None:
		return 1
	default:
		return 0
	}
}

func (r *referenceRule) lookAgain(at int64) {
	if r.due < 0 || at < r.due {
		r.due = at
	}
}

func (r *referenceRule) move(to ems.RuleStatus, now int64) {
	r.moves = append(r.moves, fmt.Sprintf("%s>%s@%d", r.status, to, now))
	if to == ems.RuleActive && r.status != ems.RuleClearing {
		r.lastFired = now
		r.fired++
	}
	r.status, r.since = to, now
	if r.delay() >= 0 {
		r.lookAgain(now + r.delay())
	} else if !r.ticks() {
		r.due = -1
	}
}

// step evaluates; it reports whether the rule moved. Delays run up to the last
// time at which the channel was read.
func (r *referenceRule) step(now int64) bool {
	outcome, known := r.outcome(now), now
	if r.usable(0, now) || r.usable(1, now) {
		known = min(now, r.succeeded)
	}
	switch r.status {
	case ems.RuleIdle:
		if outcome != 1 {
			return false
		}
		if r.lastFired >= 0 && now-r.lastFired < r.cooldown {
			r.lookAgain(r.lastFired + r.cooldown)
			return false
		}
		if r.onDelay > 0 {
			r.move(ems.RulePending, now)
		} else {
			r.move(ems.RuleActive, now)
		}
		return true
	case ems.RulePending:
		if outcome == 0 {
			r.move(ems.RuleIdle, now)
			return true
		}
		if outcome == 1 && known-r.since >= r.onDelay {
			r.move(ems.RuleActive, now)
			return true
		}
	case ems.RuleActive:
		if outcome == 0 {
			if r.offDelay > 0 {
				r.move(ems.RuleClearing, now)
			} else {
				r.move(ems.RuleIdle, now)
			}
			return true
		}
	case ems.RuleClearing:
		if outcome == 1 {
			r.move(ems.RuleActive, now)
			return true
		}
		if outcome == 0 && known-r.since >= r.offDelay {
			r.move(ems.RuleIdle, now)
			return true
		}
	}
	return false
}

func (r *referenceRule) look(now int64) {
	if r.disabled {
		return
	}
	if r.ticks() {
		r.lookAgain(now + tickPeriod)
	}
	r.step(now)
}

func (r *referenceRule) tick(now int64) {
	if r.gap {
		r.gap = false
		r.lookAgain(now)
	}
	if r.due < 0 || r.due > now {
		return
	}
	r.due = -1
	if r.disabled {
		return
	}
	if !r.step(now) && r.delay() >= 0 {
		r.lookAgain(max(r.since+r.delay(), now+inputPause))
	}
	if r.ticks() {
		r.lookAgain(now + tickPeriod)
	}
}

func (r *referenceRule) rest(now int64) {
	if r.status != ems.RuleIdle {
		r.move(ems.RuleIdle, now)
	}
	r.due = -1
}

func (r *referenceRule) shown() ems.RuleStatus {
	if r.disabled {
		return ems.RuleDisabled
	}
	return r.status
}

func drawReference(t *rapid.T) *referenceRule {
	duration := func(name string) int64 {
		return rapid.SampledFrom([]int64{0, 0, 250, 1000, 3500, 12_000}).Draw(t, name)
	}
	return &referenceRule{
		logic:      rapid.SampledFrom([]ems.Logic{ems.All, ems.Any, ems.None}).Draw(t, "logic"),
		hysteresis: rapid.SampledFrom([]float64{0, 2}).Draw(t, "hysteresis"),
		onDelay:    duration("on delay"), offDelay: duration("off delay"), cooldown: duration("cooldown"),
		badInput: rapid.SampledFrom([]ems.BadInput{"", ems.BadInputIgnore, ems.BadInputFalse, ems.BadInputAlarm}).Draw(t, "bad input"),
		status:   ems.RuleIdle, lastFired: -1, due: -1, succeeded: -staleAfterMS,
	}
}

func (r *referenceRule) rule(id string, channel ems.ChannelID) ems.Rule {
	length := func(ms int64) ems.Duration {
		if ms == 0 {
			return ""
		}
		return ems.Duration(fmt.Sprintf("%dms", ms))
	}
	return ems.Rule{
		ID: id, Logic: r.logic, Hysteresis: r.hysteresis, OnDelay: length(r.onDelay), OffDelay: length(r.offDelay),
		Cooldown: length(r.cooldown), BadInput: r.badInput,
		Conditions: []ems.Condition{
			{Source: fmt.Sprintf("comsrv:%d:T:1", channel), Operator: ">", Value: ems.Number(10)},
			{Source: fmt.Sprintf("comsrv:%d:T:2", channel), Operator: "<", Value: ems.Number(5)},
		},
		Actions: []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Minor", "title": id}}},
	}
}

// lifeStep does one thing to the rule and to its reference.
func (b *bench) lifeStep(t *rapid.T, r *referenceRule, rule ems.Rule, channel ems.ChannelID) error {
	b.clock.Advance(time.Duration(rapid.SampledFrom([]int{0, 1, 100, 250, 900, 1000, 4000, 11_000}).Draw(t, "ms")) * time.Millisecond)
	now := b.clock.Now().UnixMilli()
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0, 1, 2, 3, 4:
		batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now()}
		for i := range r.inputs {
			if rapid.Bool().Draw(t, "told") {
				sample := rtdb.Sample{Point: ems.PointID(i + 1), Number: rapid.SampledFrom([]float64{3, 6, 9, 10, 12}).Draw(t, "number")}
				if rapid.IntRange(0, 5).Draw(t, "quality") == 0 {
					sample.Quality = ems.Bad
					r.inputs[i].bad = true
				} else {
					r.inputs[i] = referenceInput{number: sample.Number, read: true}
				}
				batch.Samples = append(batch.Samples, sample)
			}
		}
		r.gap = r.gap || r.succeeded >= 0 && now-r.succeeded > staleAfterMS
		r.succeeded = now
		concerned := false // a rule that ignores bad input is not looked at for it
		for _, sample := range batch.Samples {
			concerned = concerned || sample.Quality == ems.Good || r.ticks()
		}
		if concerned && !r.disabled {
			r.step(now)
		}
		return b.Ingest(b.ctx, batch)
	case 5:
		r.look(now)
		_, err := b.EvaluateRule(b.ctx, rule.ID)
		return err
	case 6: // a restart of rulesrv stores what is stored
		r.look(now)
		return b.UpsertRule(b.ctx, rule)
	case 7:
		r.rest(now)
		r.lastFired = -1
		r.look(now)
		_, err := b.ResetRule(b.ctx, rule.ID, "")
		return err
	case 8:
		if enabled := rapid.IntRange(0, 3).Draw(t, "enabled") > 0; enabled == r.disabled {
			if r.disabled = !enabled; r.disabled {
				r.moves = append(r.moves, fmt.Sprintf(">disabled@%d", now))
				r.rest(now)
			} else {
				r.moves = append(r.moves, fmt.Sprintf(">enabled@%d", now))
			}
			r.look(now)
			return b.EnableRule(b.ctx, rule.ID, enabled, "")
		}
		return nil
	default:
		r.tick(now)
		_, err := b.TickRules(b.ctx, 1000)
		return err
	}
}

// The state machine of rules against the reference, with restarts of Redis in
// between: every change of state is one event, at the same time in both.
func TestRulesFollowTheReference(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	runs, steps := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		r := drawReference(t)
		channel, id := ems.ChannelID(runs), fmt.Sprintf("r%d", runs)
		rule := r.rule(id, channel)
		from := b.lastEvent()
		if err := b.UpsertRule(b.ctx, rule); err != nil {
			t.Fatal(err)
		}
		r.look(b.clock.Now().UnixMilli())
		for range rapid.IntRange(200, 700).Draw(t, "steps") {
			if steps++; steps%2000 == 0 {
				b.server.Restart()
			}
			if err := b.lifeStep(t, r, rule, channel); err != nil {
				t.Fatal(err)
			}
			state, err := b.Rule(b.ctx, id)
			if err != nil || state.Status != r.shown() || state.Fired != r.fired {
				t.Fatalf("%s, fired %d, %v; the reference is %s, fired %d, after %v", state.Status, state.Fired, err, r.shown(), r.fired, r.moves)
			}
		}
		b.sameMoves(t, id, from, r.moves)
		if err := b.DeleteRule(b.ctx, id, ""); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d steps", steps)
	if _, err := b.TickRules(b.ctx, 1000); err != nil { // it finds nothing behind what asked to look
		t.Fatal(err)
	}
	for _, key := range []string{"rulesrv:standing", "rulesrv:due", "rulesrv:memory", "rulesrv:rules"} {
		if b.raw.Exists(b.ctx, key).Val() != 0 {
			t.Errorf("%s is left: %s", key, b.show(t, key))
		}
	}
}

func (b *bench) lastEvent() string {
	last, _ := b.raw.XRevRangeN(b.ctx, "rulesrv:events", "+", "-", 1).Result()
	if len(last) == 0 {
		return ""
	}
	return last[0].ID
}

func (b *bench) sameMoves(t *rapid.T, id, after string, want []string) {
	var got []string
	for {
		events, err := b.RuleEvents(b.ctx, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			after = event.Entry
			if event.Rule == id {
				got = append(got, fmt.Sprintf("%s>%s@%d", event.From, event.To, event.Time.UnixMilli()))
			}
		}
		if len(events) < 1000 {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("events %v, want %v", got, want)
	}
}
