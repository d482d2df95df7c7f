package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// alarmSources is how many devices the alarms of the bench are about.
const alarmSources = 1000

func alarmRule(n int) string { return fmt.Sprintf("raised_%d", n) }

func alarmSource(n int) string { return fmt.Sprintf("comsrv:%d:T:%d", wideChannel, n%alarmSources+1) }

// raise raises alarm n, which no call before has raised. The typed call reads the
// alarm back too, which is no part of raising it.
func (s *site) raise(ctx context.Context, on redis.Cmdable, n int, atMS int64) *redis.Cmd {
	return on.FCall(ctx, "alarm_store", []string{s.db.Namespace().Of("new")}, alarmSource(n), alarmRule(n), string(alarmLevel(n)),
		"A value of the bench is beyond all bounds", "It was raised to be measured.", "81.500000", "high", atMS)
}

func alarmLevel(n int) ems.AlarmLevel { return ems.AlarmLevels[n%len(ems.AlarmLevels)] }

// calmLimit is how many alarms may come within ten minutes before it is a flood.
const calmLimit = 100_000

// calm has every alarm told at once, as outside of a flood.
func (s *site) calm(ctx context.Context) error {
	settings := ems.DefaultAlarmSettings()
	settings.FloodLimit = calmLimit
	return s.db.ConfigureAlarms(ctx, settings)
}

// trimNotifications does the part of netsrv, which takes them as they come.
func (s *site) trimNotifications(ctx context.Context) error {
	return s.fault(s.raw.XTrimMaxLen(ctx, s.db.Namespace().Notifications(), 0).Err())
}

// storeAlarm raises a new alarm with each call. The site begins each round without
// any, so that their number stays bounded.
func (s *server) storeAlarm() workload {
	on, open := s.raised, 0
	one := single("alarm_store", "fcall", func(ctx context.Context, n int) error {
		open++
		return s.fault(on.raise(ctx, s.raw, n, s.clock.Now().UnixMilli()).Err())
	})
	one.prepare = func(ctx context.Context) error {
		return s.prepare(ctx, on, func() error { return on.calm(ctx) })
	}
	one.settle = on.trimNotifications
	one.verify = func(ctx context.Context, _, n int) error { return on.verifyRaised(ctx, n, open) }
	one.reset = func(ctx context.Context) error {
		open = 0
		if err := on.empty(ctx); err != nil {
			return err
		}
		return on.calm(ctx)
	}
	return one
}

// verifyRaised proves that so many alarms are open, each of them told, and that
// the newest is number n.
func (s *site) verifyRaised(ctx context.Context, n, open int) error {
	counts, err := s.db.AlarmCounts(ctx, time.Time{})
	if err != nil {
		return err
	}
	if found := counts.State(ems.ActiveUnacknowledged); found != int64(open) {
		return ems.Errorf(ems.CodeInternal, "%d alarms are open after %d were raised", found, open)
	}
	if !counts.FloodSince.IsZero() || counts.RaisedLately != int64(open) {
		return ems.Errorf(ems.CodeInternal, "%d of %d alarms were told at once", counts.RaisedLately, open)
	}
	newest, err := s.db.Alarms(ctx, rtdb.AlarmFilter{Count: 1})
	if err != nil {
		return err
	}
	if len(newest) != 1 || newest[0].Rule != alarmRule(n) || newest[0].Source != alarmSource(n) || newest[0].Level != alarmLevel(n) {
		return ems.Errorf(ems.CodeInternal, "the newest alarm is %+v after %s was raised about %s", newest, alarmRule(n), alarmSource(n))
	}
	return nil
}
