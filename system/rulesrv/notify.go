package rulesrv

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Pace of the notifications.
const (
	notifyWait  = time.Second // how long one call waits for the next notification
	notifyPause = time.Second // after an error
)

// consumer names this service among the readers of the stream of actions. It
// stays the same over restarts, so that what was taken and not given comes again.
const consumer = "rulesrv"

// notify gives the notifications that rules asked for: first those that were
// taken before and never acknowledged. One may be given twice when the service
// stops in between, and none is lost.
func (s *Service) notify(ctx context.Context) {
	timer := s.clock.NewTimer(notifyPause)
	defer timer.Stop()
	fresh := false
	var lastFault ems.Code // the text of a fault may name another port each time
	for ctx.Err() == nil {
		events, err := s.db.NextActions(ctx, consumer, fresh, notifyWait)
		if err == nil {
			fresh = fresh || len(events) == 0
			err = s.give(ctx, events)
		}
		if err == nil {
			lastFault = ""
			continue
		}
		fresh = false // Redis may have come back empty, or with what was taken
		if ctx.Err() == nil && ems.CodeOf(err) != lastFault {
			lastFault = ems.CodeOf(err)
			s.logger.Warn("notifications cannot be read; trying again", "error", err)
		}
		timer.Reset(notifyPause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
	}
}

func (s *Service) give(ctx context.Context, events []rtdb.ActionEvent) error {
	for _, event := range events {
		if event.Type == ems.ActionNotify {
			s.logger.Info("notification", "rule", event.Rule, "message", event.Message, "time", event.Time)
		} else {
			s.logger.Error("action of an unknown type is dropped", "rule", event.Rule, "type", event.Type)
		}
		if err := s.db.AcknowledgeAction(ctx, event.Entry); err != nil {
			return err
		}
		if event.Type == ems.ActionNotify {
			s.notifications.Inc()
		}
	}
	return nil
}
