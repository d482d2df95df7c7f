package bench

import (
	"bytes"
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// The cases of this file go to alarmsrv, which lists the alarms of a site that has
// very many of them. They have rounds of their own, after those of the functions,
// which the size of that site and the work of alarmsrv would disturb.
const (
	listCase  = "alarm_list_100"
	peaceCase = "value_to_alarm"
	floodCase = "value_to_alarm_flood"
)

// serviceCases lists the names of the cases that need alarmsrv.
func serviceCases() []string { return []string{listCase, peaceCase, floodCase} }

// How alarms are listed.
const (
	page         = 100
	newestFew    = 10              // what is looked at for an alarm that must be the newest
	listedWithin = 5 * time.Second // else it is taken for lost
)

// seedAlarms raises alarms of the last hours, a second apart, and then runs
// alarmsrv.
func (s *server) seedAlarms(ctx context.Context) error {
	if err := s.seedLarge(ctx); err != nil || s.service != nil {
		return err
	}
	if err := s.large.calm(ctx); err != nil {
		return err
	}
	first := s.clock.Now().Add(-time.Duration(s.sizes.alarms) * time.Second)
	for from := 0; from < s.sizes.alarms; from += keysAtOnce {
		pipeline := s.raw.Pipeline()
		for n := from; n < min(from+keysAtOnce, s.sizes.alarms); n++ {
			s.large.raise(ctx, pipeline, n, first.Add(time.Duration(n)*time.Second).UnixMilli())
		}
		if _, err := pipeline.Exec(ctx); err != nil {
			return s.fault(err)
		}
		if err := s.large.trimNotifications(ctx); err != nil {
			return err
		}
	}
	var err error
	s.service, err = s.startService(ctx, ems.Alarmsrv, alarmFiles(s.large.name))
	return err
}

// atService returns a case whose calls go to alarmsrv over its one connection.
func (s *server) atService(name string, call func(ctx context.Context, n int) error) workload {
	return workload{
		name: name, api: true, perCall: 1, lanes: 1, prepare: s.seedAlarms,
		call: func(ctx context.Context, _, n int) error { return call(ctx, n) },
	}
}

// serviceWorkloads returns those of serviceCases that are measured in rounds.
func (s *server) serviceWorkloads() []workload { return []workload{s.listAlarms(), s.valueToAlarm()} }

// listAlarms asks for the newest page of all alarms.
func (s *server) listAlarms() workload {
	var last []byte
	one := s.atService(listCase, func(ctx context.Context, _ int) (err error) {
		last, _, err = s.service.get(ctx, "/api/alarms")
		if found := bytes.Count(last, []byte(`"raised_at":`)); err == nil && found != page {
			return ems.Errorf(ems.CodeInternal, "alarmsrv listed %d alarms instead of %d", found, page)
		}
		return err
	})
	one.verify = func(ctx context.Context, _, _ int) error {
		listed, err := readAlarms(last)
		if err != nil {
			return err
		}
		if err := s.verifyStanding(ctx, 0); err != nil {
			return err
		}
		newest, err := s.large.db.Alarms(ctx, rtdb.AlarmFilter{Count: page})
		if err != nil {
			return err
		}
		for i := range newest {
			if len(listed) != page || listed[i].ID != newest[i].ID || listed[i].Title != newest[i].Title || !listed[i].RaisedAt.Equal(newest[i].RaisedAt) {
				return ems.Errorf(ems.CodeInternal, "alarmsrv listed others than the newest alarms: alarm %d is not %s", i, newest[i].ID)
			}
		}
		return nil
	}
	return one
}

// verifyStanding proves that as many alarms are active as were seeded, and more of
// them where calls have raised some.
func (s *server) verifyStanding(ctx context.Context, more int) error {
	counts, err := s.large.db.AlarmCounts(ctx, time.Time{})
	if err != nil {
		return err
	}
	if found, want := counts.State(ems.ActiveUnacknowledged), int64(s.sizes.alarms+more); found != want {
		return ems.Errorf(ems.CodeInternal, "%d alarms are active instead of %d", found, want)
	}
	return nil
}

// tripping is the batch that trips the rules of a loose channel from first on, by
// the first of the two points that each watches.
func (s *server) tripping(channel, first, count int, number float64) rtdb.Batch {
	samples := make([]rtdb.Sample, count)
	for i := range samples {
		samples[i] = rtdb.Sample{Point: ems.PointID(2*(first+i) + 1), Number: number}
	}
	return rtdb.Batch{Channel: looseBlock(channel).channel, Type: ems.Telemetry, Group: group, Time: s.clock.Now(), Samples: samples}
}

// valueToAlarm sends a value that trips a rule, and asks for the newest alarms
// until that one is among them. What was tripped goes back to rest, and the alarm
// away, behind the calls.
func (s *server) valueToAlarm() workload {
	var raised []ems.Alarm
	one := s.atService(peaceCase, func(ctx context.Context, n int) error {
		rule, number := n%settleEvery, 2*beyond+float64(n)
		if err := s.large.db.Ingest(ctx, s.tripping(0, rule, 1, number)); err != nil {
			return err
		}
		alarm, err := s.awaitAlarm(ctx, looseID(0, rule), number, listedWithin)
		raised = append(raised, alarm)
		return err
	})
	one.verify = func(ctx context.Context, _, _ int) error { return s.verifyStanding(ctx, len(raised)) }
	one.settle = func(ctx context.Context) error {
		defer func() { raised = raised[:0] }()
		return s.rest(ctx, raised)
	}
	one.reset = one.settle
	return one
}

// awaitAlarm asks for the newest alarms until one that a value has raised is
// listed.
func (s *server) awaitAlarm(ctx context.Context, rule string, number float64, within time.Duration) (ems.Alarm, error) {
	deadline := s.clock.Now().Add(within)
	for {
		alarms, _, err := s.service.list(ctx, "", newestFew)
		if err != nil {
			return ems.Alarm{}, err
		}
		for _, alarm := range alarms {
			if alarm.Rule == rule && alarm.State == ems.ActiveUnacknowledged && alarm.Value != nil && *alarm.Value == number {
				return alarm, nil
			}
		}
		if s.clock.Now().After(deadline) {
			return ems.Alarm{}, ems.Errorf(ems.CodeInternal, "the alarm of rule %s for %v was not listed within %v", rule, number, within)
		}
	}
}

// rest gives the points of the first loose channel their values again, so that the
// alarms clear, acknowledges these, and removes them.
func (s *server) rest(ctx context.Context, raised []ems.Alarm) error {
	if len(raised) == 0 {
		return nil
	}
	first := looseBlock(0)
	if err := s.large.db.Ingest(ctx, first.batch(s.clock.Now(), 0, 0, first.size)); err != nil {
		return err
	}
	for _, alarm := range raised {
		if err := s.large.db.AcknowledgeAlarm(ctx, alarm.ID, alarm.Occurrences, siteName); err != nil {
			return err
		}
	}
	for left := len(raised); left > 0; {
		removed, err := s.large.db.CleanUpAlarms(ctx, 0, 0)
		if err != nil {
			return err
		}
		if removed == 0 {
			return ems.Errorf(ems.CodeInternal, "%d alarms did not close", left)
		}
		left -= removed
	}
	if err := s.large.trimNotifications(ctx); err != nil {
		return err
	}
	return s.large.trimHistory(ctx)
}
