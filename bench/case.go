package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Cases with which others are compared.
const (
	pingCase = "ping"            // the limit of what this machine, this network and this Redis can do
	hsetCase = "native_hset_100" // how fast Redis is on this machine
)

// Cases lists the names of the cases in the order in which they run.
func Cases() []string {
	return append([]string{
		pingCase, hsetCase, "comsrv_ingest_100", "comsrv_ingest_10",
		"native_hmget_50", "model_read_50", "native_hget", "reverse_lookup", "rule_evaluate",
		"native_hset_100_pipelined", "poll_1000_changed_100", "poll_1000_changed_1000", "poll_100_changed_10",
		"ping_under_ingest",
		"ingest_10_no_rules", "ingest_10_rules_bound", "ingest_10_rules_elsewhere",
		"rule_batch_1000", "decoding_batch_1000", "alarm_store",
	}, slices.Concat(plantCases(), serviceCases(), servingCases(), acquisitionCases())...)
}

// Connections that call at once.
const (
	connections = 8 // where the case is about throughput
	pingers     = 4 // of PING beside these: it takes many to tell a 99.9th percentile
)

// workload is one case.
type workload struct {
	name     string
	api      bool     // its calls go to a service or a plant, and what Redis does for that is not told
	commands []string // under which INFO commandstats counts its calls
	perCall  int      // how many of these commands one call makes
	points   int      // that one call is about, where the case is about points/s
	lanes    int      // connections, each with calls of its own
	// prepare stores what the case needs beside the first site, before any round.
	prepare func(ctx context.Context) error
	call    func(ctx context.Context, lane, n int) error
	settle  func(ctx context.Context) error
	// verify proves, after a round, that the calls up to n did their work: a call
	// that does nothing is fast.
	verify func(ctx context.Context, lane, n int) error
	// reset clears up after a round what settle cannot, whose calls would count.
	reset  func(ctx context.Context) error
	beside *workload // load that is on meanwhile
}

// single returns a case of one connection, of which each call makes one command.
func single(name, command string, call func(ctx context.Context, n int) error) workload {
	return workload{
		name: name, commands: []string{command}, perCall: 1, lanes: 1,
		call: func(ctx context.Context, _, n int) error { return call(ctx, n) },
	}
}

// functions are the commands by which functions of the library are called.
var functions = []string{"fcall", "fcall_ro"}

// function returns a case of one connection, of which each call makes one call
// of the library.
func function(name string, call func(ctx context.Context, n int) error) workload {
	one := single(name, "", call)
	one.commands = functions
	return one
}

// workloads returns what Cases names, but for those of plantCases, serviceCases,
// servingCases and acquisitionCases.
func (s *server) workloads(clock ems.Clock) []workload {
	ping := func(ctx context.Context, _ int) error { return s.db.Ping(ctx) }
	rule := function("rule_evaluate", s.evaluateRule)
	rule.verify = func(ctx context.Context, _, _ int) error { return s.verifyRules(ctx) }
	load := s.poll("", clock, largeDevice, rtdb.MaxBatch)
	loaded := single("ping_under_ingest", "ping", ping)
	loaded.lanes, loaded.beside = pingers, &load
	all := []workload{
		single(pingCase, "ping", ping),
		s.nativeHSET(),
		s.ingest("comsrv_ingest_100", clock, firstBlock(), points),
		s.ingest("comsrv_ingest_10", clock, firstBlock(), 10),
		single("native_hmget_50", "hmget", s.nativeHMGET),
		function("model_read_50", s.readModel),
		single("native_hget", "hget", s.nativeHGET),
		single("reverse_lookup", "hget", s.lookUp),
		rule,
		s.nativePipeline(),
		s.poll("poll_1000_changed_100", clock, largeDevice, 100),
		s.poll("poll_1000_changed_1000", clock, largeDevice, 1000),
		s.poll("poll_100_changed_10", clock, smallDevice, 10),
		loaded,
	}
	all = append(all, s.rulesOfBatch()...)
	all = append(all, s.batchOfRules()...)
	return append(all, s.storeAlarm())
}

// ingest sends count changed points of a block, the following ones with each
// call.
func (s *site) ingest(name string, clock ems.Clock, b block, count int) workload {
	sent := func(n int) rtdb.Batch { return b.batch(clock.Now(), n, n*count%b.size, count) }
	one := function(name, func(ctx context.Context, n int) error { return s.db.Ingest(ctx, sent(n)) })
	one.settle = s.trimHistory
	one.verify = func(ctx context.Context, _, n int) error { return s.verifyIngest(ctx, sent(n)) }
	return one
}

// verifyIngest reads the last batch back: every value as it was sent, good, and
// handed to history, and no rule has fired.
func (s *site) verifyIngest(ctx context.Context, sent rtdb.Batch) error {
	ids := make([]ems.PointID, len(sent.Samples))
	for i, sample := range sent.Samples {
		ids[i] = sample.Point
	}
	stored, err := s.db.ReadPoints(ctx, sent.Channel, sent.Type, ids)
	if err != nil {
		return err
	}
	for i, value := range stored {
		if value.Quality != ems.Good || value.Number != sent.Samples[i].Number {
			return ems.Errorf(ems.CodeInternal, "point %d holds %v (%s) after %v was sent", ids[i], value.Number, value.Quality, sent.Samples[i].Number)
		}
	}
	if err := s.verifyHistory(ctx, 1, func() error { return s.db.Ingest(ctx, sent) }); err != nil {
		return err
	}
	return s.verifyRules(ctx)
}

// verifyHistory makes calls that hand entries to history, and counts these.
func (s *site) verifyHistory(ctx context.Context, entries int64, call func() error) error {
	before, err := s.db.BatchStatus(ctx)
	if err != nil {
		return err
	}
	if before.Dropped != 0 {
		return ems.Errorf(ems.CodeInternal, "history was full and refused %d entries", before.Dropped)
	}
	if err := call(); err != nil {
		return err
	}
	after, err := s.db.BatchStatus(ctx)
	if err != nil {
		return err
	}
	if made := after.Waiting - before.Waiting; made != entries {
		return ems.Errorf(ems.CodeInternal, "what was sent made %d entries of history instead of %d", made, entries)
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

// lookUp asks which model names a point, the next one with each call.
func (s *server) lookUp(ctx context.Context, n int) error {
	point := n % modelPoints
	names, err := s.db.ModelsOfPoint(ctx, ems.PointRef{Channel: channel, Type: ems.Telemetry, Point: ems.PointID(point + 1)})
	if err != nil {
		return err
	}
	want := rtdb.ModelName{Model: modelID, Name: modelName(point)}
	if len(names) != 1 || names[0] != want {
		return ems.Errorf(ems.CodeInternal, "the reverse lookup answered %v instead of %v", names, want)
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

// modelName is what the model calls a point, counted from 0.
func modelName(point int) string { return fmt.Sprintf("value_%03d", point+1) }
