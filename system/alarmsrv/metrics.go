package alarmsrv

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// metrics are what is told of the alarms as a whole. The gauges are empty while
// Redis cannot be asked.
type metrics struct {
	active *prometheus.GaugeVec
	state  *prometheus.GaugeVec
	aside  *prometheus.GaugeVec
	stream *prometheus.GaugeVec
	due    prometheus.Counter
	// removed counts closed alarms that retention took.
	removed prometheus.Counter
}

func newMetrics(registry *prometheus.Registry) *metrics {
	gauge := func(name, label, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "voltage_alarmsrv_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		active: gauge("active", "level", "Alarms whose condition holds, by level; none while Redis cannot be asked."),
		state:  gauge("alarms", "state", "Alarms that are stored, by state."),
		aside:  gauge("marked", "mark", "Alarms that are not closed and are shelved, suppressed or chattering, and the alarms told within ten minutes (told_10min)."),
		stream: gauge("stream", "name", "Entries of the journal and waiting notifications, and how many of each gave way to newer ones."),
		due:    prometheus.NewCounter(prometheus.CounterOpts{Name: "voltage_alarmsrv_due_total", Help: "Escalations, ends of shelving and the like that became due."}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_alarmsrv_removed_total", Help: "Closed alarms removed by retention.",
		}),
	}
	registry.MustRegister(m.active, m.state, m.aside, m.stream, m.due, m.removed)
	return m
}

// measure brings the gauges up to date.
func (s *Service) measure(ctx context.Context) error {
	m := s.metrics
	counts, err := s.db.AlarmCounts(ctx, time.Time{})
	if err != nil {
		for _, gauge := range []*prometheus.GaugeVec{m.active, m.state, m.aside, m.stream} {
			gauge.Reset()
		}
		return err
	}
	for _, level := range ems.AlarmLevels {
		active := counts.Numbers[ems.ActiveUnacknowledged][level] + counts.Numbers[ems.ActiveAcknowledged][level]
		m.active.WithLabelValues(string(level)).Set(float64(active))
	}
	for _, state := range ems.AlarmStates {
		m.state.WithLabelValues(string(state)).Set(float64(counts.State(state)))
	}
	for mark, number := range map[string]int64{
		"shelved": counts.Shelved, "suppressed": counts.Suppressed, "chattering": counts.Chattering, "told_10min": counts.RaisedLately,
	} {
		m.aside.WithLabelValues(mark).Set(float64(number))
	}
	for name, number := range map[string]int64{
		"journal": counts.Journal, "journal_trimmed": counts.JournalTrimmed,
		"notifications": counts.Notifications, "notifications_dropped": counts.NotificationsDropped,
	} {
		m.stream.WithLabelValues(name).Set(float64(number))
	}
	return nil
}
