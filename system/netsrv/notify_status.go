package netsrv

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// measurePeriod is how often the gauges are brought up to date.
const measurePeriod = 5 * time.Second

// notifyMetrics are what is told of the notifications. The gauges are empty while
// Redis cannot be asked.
type notifyMetrics struct {
	notifications *prometheus.CounterVec
	failures      *prometheus.CounterVec
	overflowed    prometheus.Counter
	waiting       *prometheus.GaugeVec
	lost          *prometheus.GaugeVec
}

func newNotifyMetrics(registry *prometheus.Registry) *notifyMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "voltage_netsrv_" + name, Help: help}, []string{"target"})
	}
	m := &notifyMetrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voltage_netsrv_notifications_total", Help: "Notifications that a target took (delivered) or did not take (dead).",
		}, []string{"target", "outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "voltage_netsrv_notification_failures_total", Help: "Attempts to deliver a notification that failed.",
		}, []string{"target"}),
		overflowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_netsrv_dead_letters_dropped_total", Help: "Dead letters that gave way to newer ones.",
		}),
		waiting: gauge("notifications_waiting", "Notifications that a target is not done with."),
		lost:    gauge("notifications_lost", "Notifications that gave way in a full stream before a target had them."),
	}
	registry.MustRegister(m.notifications, m.failures, m.overflowed, m.waiting, m.lost)
	return m
}

// measure keeps the gauges up to date until ctx ends.
func (s *Service) measure(ctx context.Context) {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		m := s.notifyMetrics
		found, err := s.notificationStatus(ctx)
		if err != nil {
			m.waiting.Reset()
			m.lost.Reset()
		}
		for target, number := range found.Waiting {
			m.waiting.WithLabelValues(target).Set(float64(number))
		}
		for target, number := range found.Lost {
			m.lost.WithLabelValues(target).Set(float64(number))
		}
		timer.Reset(measurePeriod)
	}
}

func (s *Service) notificationStatus(ctx context.Context) (rtdb.NotificationStatus, error) {
	var names []string
	for _, notifier := range s.notifiers {
		names = append(names, notifier.target.Name)
	}
	found, err := s.db.NotificationStatus(ctx, names)
	if err != nil {
		return rtdb.NotificationStatus{}, err
	}
	return found, nil
}

// notifyStatus is the part of /api/network/status about notifications. What Redis
// holds is left out while it cannot be asked.
type notifyStatus struct {
	Targets     []targetStatus `json:"targets"`
	DeadLetters *int64         `json:"dead_letters,omitempty"` // kept
	Dropped     *int64         `json:"dropped,omitempty"`      // gave way in a full stream before all targets had them
}

type targetStatus struct {
	Name      string `json:"name"`
	Target    string `json:"target"`            // without credentials, or "log"
	Connected bool   `json:"connected"`         // the last notification was taken
	Delivered int64  `json:"delivered"`         // since the service started
	Dead      int64  `json:"dead"`              // became dead letters since then
	Waiting   *int64 `json:"waiting,omitempty"` // not delivered yet
	Lost      *int64 `json:"lost,omitempty"`    // gave way in a full stream
	LastError string `json:"last_error,omitempty"`
}

func (s *Service) notifyStatus(ctx context.Context) notifyStatus {
	found, err := s.notificationStatus(ctx)
	var reply notifyStatus
	if err == nil {
		reply.DeadLetters, reply.Dropped = &found.Dead, &found.Dropped
	}
	for _, notifier := range s.notifiers {
		link := notifier.link.status()
		one := targetStatus{
			Name: notifier.target.Name, Target: notifier.shown, Connected: link.Connected || notifier.target.Log,
			Delivered: link.Sent, Dead: link.Dropped, LastError: link.LastError,
		}
		if err == nil {
			waiting, lost := found.Waiting[one.Name], found.Lost[one.Name]
			one.Waiting, one.Lost = &waiting, &lost
		}
		reply.Targets = append(reply.Targets, one)
	}
	return reply
}

// listDead replies with a page of dead letters, newest first.
func (s *Service) listDead(c echo.Context) error {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	letters, next, err := s.db.DeadLetters(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	return httpserver.OKPage(c, letters, next)
}

// retryDead gives a dead letter to its target once more, and removes it when it
// was taken.
func (s *Service) retryDead(c echo.Context) error {
	ctx := c.Request().Context()
	letter, err := s.db.DeadLetter(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	for _, notifier := range s.notifiers {
		if notifier.target.Name != letter.Target {
			continue
		}
		if notifier.target.Log {
			notifier.write(letter.Document)
		} else if err := notifier.send(ctx, letter.Notice, letter.Document); err != nil {
			return ems.Errorf(ems.CodeUnavailable, "%s did not take it: %w", letter.Target, err)
		}
		notifier.took()
		if err := s.db.RemoveDeadLetter(context.WithoutCancel(ctx), letter.ID); err != nil {
			return err
		}
		return httpserver.OK(c, letter)
	}
	return ems.Errorf(ems.CodeConflict, "target %q is not under notify in forward.yaml any more", letter.Target)
}
