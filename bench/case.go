package bench

import (
	"context"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// pingCase is the limit of what this machine, this network and this Redis can
// do: the other cases are compared with it.
const pingCase = "ping"

// Cases lists the names of the cases in the order in which they run.
func Cases() []string {
	return []string{pingCase, "comsrv_ingest_100", "comsrv_ingest_10", "model_read_50", "rule_evaluate"}
}

// workload is one case.
type workload struct {
	name    string
	command string // under which INFO commandstats counts its calls
	call    func(ctx context.Context, n int) error
	settle  func(ctx context.Context) error
	// verify proves, after the measurement, that the calls up to n did their
	// work: a call that does nothing is fast.
	verify func(ctx context.Context, n int) error
}

// workloads returns what Cases names.
func (s *server) workloads(clock ems.Clock) []workload {
	return []workload{
		{name: pingCase, command: "ping", call: func(ctx context.Context, _ int) error { return s.db.Ping(ctx) }},
		s.ingest("comsrv_ingest_100", clock, points),
		s.ingest("comsrv_ingest_10", clock, 10),
		{name: "model_read_50", command: "fcall", call: s.readModel},
		{name: "rule_evaluate", command: "fcall", call: s.evaluateRule, verify: s.verifyRules},
	}
}

// ingest sends count changed points of the block, the following ones with each
// call.
func (s *server) ingest(name string, clock ems.Clock, count int) workload {
	return workload{
		name: name, command: "fcall", settle: s.trimHistory,
		call: func(ctx context.Context, n int) error {
			return s.db.Ingest(ctx, batch(clock.Now(), n, n*count%points, count))
		},
		verify: func(ctx context.Context, n int) error {
			return s.verifyIngest(ctx, batch(clock.Now(), n, n*count%points, count))
		},
	}
}

// trimHistory does the part of hissrv, which takes entries away as fast as they
// come: the stream must not grow to its limit, where ingest has less to do.
func (s *server) trimHistory(ctx context.Context) error {
	return s.fault(s.raw.XTrimMaxLen(ctx, s.db.Namespace().HistoryStream(), 0).Err())
}

// verifyIngest reads the last batch back: every value as it was sent, good, and
// handed to history, and no rule has fired.
func (s *server) verifyIngest(ctx context.Context, sent rtdb.Batch) error {
	ids := make([]ems.PointID, len(sent.Samples))
	for i, sample := range sent.Samples {
		ids[i] = sample.Point
	}
	stored, err := s.db.ReadPoints(ctx, channel, ems.Telemetry, ids)
	if err != nil {
		return err
	}
	for i, value := range stored {
		if value.Quality != ems.Good || value.Number != sent.Samples[i].Number {
			return ems.Errorf(ems.CodeInternal, "point %d holds %v (%s) after %v was sent", ids[i], value.Number, value.Quality, sent.Samples[i].Number)
		}
	}
	before, err := s.db.BatchStatus(ctx)
	if err != nil {
		return err
	}
	if before.Dropped != 0 {
		return ems.Errorf(ems.CodeInternal, "history was full and refused %d entries", before.Dropped)
	}
	if err := s.db.Ingest(ctx, sent); err != nil {
		return err
	}
	after, err := s.db.BatchStatus(ctx)
	if err != nil {
		return err
	}
	if after.Waiting != before.Waiting+1 {
		return ems.Errorf(ems.CodeInternal, "a batch made %d entries of history instead of 1", after.Waiting-before.Waiting)
	}
	return s.verifyRules(ctx, 0)
}

func (s *server) verifyRules(ctx context.Context, _ int) error {
	states, err := s.db.Rules(ctx, "", rules+1)
	if err != nil {
		return err
	}
	if len(states) != rules {
		return ems.Errorf(ems.CodeInternal, "redis holds %d rules of the bench instead of %d", len(states), rules)
	}
	for _, state := range states {
		if state.Fired != 0 || state.Status != ems.RuleIdle {
			return ems.Errorf(ems.CodeInternal, "rule %s fired %d times and is %s: no rule of the bench may fire", state.Rule.ID, state.Fired, state.Status)
		}
	}
	return nil
}

func (s *server) readModel(ctx context.Context, _ int) error {
	values, err := s.db.ReadModel(ctx, modelID)
	if err != nil {
		return err
	}
	if len(values) != modelPoints {
		return ems.Errorf(ems.CodeInternal, "model_read answered %d values instead of %d", len(values), modelPoints)
	}
	for _, value := range values {
		if value.Missing || value.Value.Quality != ems.Good {
			return ems.Errorf(ems.CodeInternal, "model_read answered %s as %s instead of good", value.Name, value.Value.Quality)
		}
	}
	return nil
}

func (s *server) evaluateRule(ctx context.Context, n int) error {
	status, err := s.db.EvaluateRule(ctx, ruleID(n))
	if err != nil {
		return err
	}
	if status != ems.RuleIdle {
		return ems.Errorf(ems.CodeInternal, "rule %s is %s instead of idle", ruleID(n), status)
	}
	return nil
}
