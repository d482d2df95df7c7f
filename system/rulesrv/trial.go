package rulesrv

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of a trial.
const (
	mostTrialValues = 200_000
	longestReplay   = 31 * 24 * time.Hour
	longestInForce  = 92 * 24 * time.Hour // of given values, where a schedule says on which days they count
	lookBack        = time.Hour           // before a replay, for what held when it begins
)

// trial is the body of a test: a rule and one of values, live and history.
type trial struct {
	Rule    *ems.Rule    `json:"rule"`
	Values  []trialValue `json:"values"` // in the order of time
	Live    bool         `json:"live"`
	History *struct {
		From time.Time `json:"from"`
		To   time.Time `json:"to"`
	} `json:"history"`
}

// trialValue says that a source has a number from a time on; null is a number
// that may not be acted on.
type trialValue struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Value  *float64  `json:"value"`
}

// verdict is the answer to a test over values.
type verdict struct {
	Firings   int                `json:"firings"`              // how often the rule would have become active
	Changes   []rtdb.TrialChange `json:"changes"`              // of its state, in order
	NoHistory []string           `json:"no_history,omitempty"` // sources that history knows nothing of: their numbers were unknown
}

// testRule tries a rule out: against values given, against the live ones, or over
// the past. Nothing is written.
func (s *Service) testRule(c echo.Context) error {
	var asked trial
	if err := httpserver.Body(c, &asked); err != nil {
		return err
	}
	if err := asked.check(); err != nil {
		return err
	}
	ctx, rule := c.Request().Context(), *asked.Rule
	if asked.Values == nil { // what is given may be of points that there are not yet
		if err := s.check(ctx, &rule); err != nil {
			return err
		}
	}
	if asked.Live {
		found, err := s.db.TryRule(ctx, rule)
		if err != nil {
			return err
		}
		if rule.Schedule != nil {
			now := s.clock.Now()
			windows, err := rule.Schedule.Windows(now, now.Add(time.Millisecond))
			if err != nil {
				return err
			}
			found.InForce = len(windows) > 0
		}
		return httpserver.OK(c, found)
	}
	values, missing, err := s.trialValues(ctx, &asked)
	if err != nil {
		return err
	}
	found, err := s.replay(ctx, rule, values)
	if err != nil {
		return err
	}
	found.NoHistory = missing
	return httpserver.OK(c, found)
}

func (t *trial) check() error {
	kinds := 0
	for _, given := range []bool{t.Values != nil, t.Live, t.History != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case t.Rule == nil:
		return ems.Errorf(ems.CodeInvalid, "the test needs a rule")
	case kinds != 1:
		return ems.Errorf(ems.CodeInvalid, `test either with "values", with "live": true or with "history": {"from", "to"}`)
	case t.History != nil && t.History.From.UnixMilli() < 0:
		return ems.Errorf(ems.CodeInvalid, "history.from: write a time such as 2026-05-01T12:00:00Z, of 1970 or later")
	case t.History != nil && !t.History.To.After(t.History.From):
		return ems.Errorf(ems.CodeInvalid, "history.to must be after history.from")
	case t.History != nil && t.History.To.Sub(t.History.From) > longestReplay:
		return ems.Errorf(ems.CodeInvalid, "history: a replay spans %d days at most", longestReplay/(24*time.Hour))
	case len(t.Values) > mostTrialValues:
		return ems.Errorf(ems.CodeInvalid, "values: %d are more than %d", len(t.Values), mostTrialValues)
	case t.Rule.Schedule != nil && len(t.Values) > 0 && t.Values[len(t.Values)-1].Time.Sub(t.Values[0].Time) > longestInForce:
		return ems.Errorf(ems.CodeInvalid, "values: those of a rule with a schedule span %d days at most", longestInForce/(24*time.Hour))
	}
	if t.Rule.ID == "" {
		t.Rule.ID = "trial"
	}
	return config.CheckRule(t.Rule)
}

func (s *Service) trialValues(ctx context.Context, asked *trial) (values []rtdb.TrialValue, missing []string, err error) {
	if asked.History != nil {
		return s.pastValues(ctx, asked.Rule, asked.History.From, asked.History.To)
	}
	sources := asked.Rule.Sources()
	for i, given := range asked.Values {
		switch {
		case !slices.Contains(sources, given.Source):
			return nil, nil, ems.Errorf(ems.CodeInvalid, "values[%d].source: the rule does not watch %q", i, given.Source)
		case i > 0 && given.Time.Before(asked.Values[i-1].Time):
			return nil, nil, ems.Errorf(ems.CodeInvalid, "values[%d].time: %s is before the one ahead of it", i, given.Time.Format(time.RFC3339Nano))
		case given.Time.UnixMilli() < 1:
			return nil, nil, ems.Errorf(ems.CodeInvalid, "values[%d].time: write when the value came, for example 2026-05-01T12:00:00Z", i)
		}
		values = append(values, rtdb.TrialValue{Time: given.Time, Source: given.Source, Number: given.Value})
	}
	return values, nil, nil
}

// replay runs a rule over values.
func (s *Service) replay(ctx context.Context, rule ems.Rule, values []rtdb.TrialValue) (verdict, error) {
	found := verdict{Changes: []rtdb.TrialChange{}}
	if len(values) == 0 {
		return found, nil
	}
	var windows []ems.Window
	if rule.Schedule != nil {
		var err error
		if windows, err = rule.Schedule.Windows(values[0].Time, values[len(values)-1].Time.Add(time.Millisecond)); err != nil {
			return found, err
		}
	}
	run, err := s.db.NewReplay(rule, windows)
	if err != nil {
		return found, err
	}
	changes, err := run.Step(ctx, values)
	if err != nil {
		return found, err
	}
	for _, change := range changes {
		if change.To == ems.RuleActive && change.From != ems.RuleClearing {
			found.Firings++
		}
	}
	found.Changes = append(found.Changes, changes...)
	return found, nil
}

// pastValues returns what the sources of a rule were in a span, in the order of
// time, and the sources that history knows nothing of. The last value stands
// again at the end of the span, so that delays run up to it.
func (s *Service) pastValues(ctx context.Context, rule *ems.Rule, from, till time.Time) (values []rtdb.TrialValue, missing []string, err error) {
	cache := map[ems.PointRef][]past{}
	read := func(point ems.PointRef) ([]past, error) {
		if found, known := cache[point]; known {
			return found, nil
		}
		found, err := s.history.read(ctx, point, from.Add(-lookBack), till)
		cache[point] = found
		return found, err
	}
	for _, text := range rule.Sources() {
		source, err := ems.ParseSource(text)
		if err != nil {
			return nil, nil, err
		}
		found, err := s.pastOf(ctx, source, read)
		if err != nil {
			return nil, nil, err
		}
		if found = clamped(found, from.UnixMilli()); len(found) == 0 {
			missing = append(missing, text)
			continue
		}
		found = append(found, past{till.UnixMilli(), found[len(found)-1].Value})
		for i := range found {
			values = append(values, rtdb.TrialValue{Time: time.UnixMilli(found[i].Time), Source: text, Number: finite(found[i].Value)})
		}
		if len(values) > mostTrialValues {
			return nil, nil, ems.Errorf(ems.CodeInvalid, "more than %d values lie in that span: replay a shorter one", mostTrialValues)
		}
	}
	slices.SortStableFunc(values, func(a, b rtdb.TrialValue) int { return cmp.Compare(a.Time.UnixMilli(), b.Time.UnixMilli()) })
	return values, missing, nil
}

// clamped keeps of what was before a time the last, as of that time.
func clamped(found []past, from int64) []past {
	first := 0
	for first+1 < len(found) && found[first+1].Time <= from {
		first++
	}
	found = slices.Clone(found[first:])
	if len(found) > 0 && found[0].Time < from {
		found[0].Time = from
	}
	return found
}
