package comsrv

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The values of the label result of polls.
const (
	pollComplete = "complete" // every point was read
	pollPartial  = "partial"  // the device answered, and some points are bad
	pollFailed   = "failed"   // the device could not be reached
)

// metrics counts what comsrv does. The label channel has one value for each
// channel of the site.
type metrics struct {
	points         *prometheus.CounterVec
	sent           *prometheus.CounterVec
	polls          *prometheus.CounterVec
	pollSeconds    *prometheus.HistogramVec
	overruns       *prometheus.CounterVec
	online         *prometheus.GaugeVec
	ingestFailures *prometheus.CounterVec
	commands       *prometheus.CounterVec
	queueFull      *prometheus.CounterVec
	dropped        prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voltage_comsrv_" + name, Help: help}, labels)
	}
	m := &metrics{
		points: counter("points_total", "Points that polls have read.", "channel"),
		sent:   counter("points_sent_total", "Points sent to Redis because they changed or a refresh was due.", "channel"),
		polls:  counter("polls_total", "Polls of groups by result: complete, partial or failed.", "channel", "result"),
		pollSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voltage_comsrv_poll_seconds", Help: "Duration of a poll of one group of a channel, without Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"channel"}),
		overruns: counter("overruns_total", "Polls of a group left out because one before took longer than the period.", "channel", "group"),
		online: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "voltage_comsrv_channel_online", Help: "1 while the device answers.",
		}, []string{"channel"}),
		ingestFailures: counter("ingest_failures_total", "Attempts to tell Redis that failed; everything is sent anew later.", "channel"),
		commands:       counter("commands_total", "Commands by final state.", "state"),
		queueFull:      counter("commands_queue_full_total", "Commands refused because too many were waiting.", "channel"),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_comsrv_command_outcomes_dropped_total",
			Help: "Outcomes not stored because Redis was away for too long; these commands end as unknown.",
		}),
	}
	for _, collector := range []prometheus.Collector{
		m.points, m.sent, m.polls, m.pollSeconds, m.overruns, m.online, m.ingestFailures, m.commands, m.queueFull, m.dropped,
	} {
		if err := registry.Register(collector); err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "metrics of comsrv: %w", err)
		}
	}
	return m, nil
}

// forget removes all series of a channel that is not polled any more.
func (m *metrics) forget(channel ems.ChannelID) {
	of := prometheus.Labels{"channel": strconv.FormatUint(uint64(channel), 10)}
	for _, series := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.points, m.sent, m.polls, m.pollSeconds, m.overruns, m.online, m.ingestFailures, m.queueFull} {
		series.DeletePartialMatch(of)
	}
}

// forgetGroups removes the series of poll groups that a channel had and has no more.
func (m *metrics) forgetGroups(before, after *channel) {
	for i := range before.publisher.groups {
		name := before.publisher.groups[i].name
		if !slices.ContainsFunc(after.publisher.groups, func(g groupState) bool { return g.name == name }) {
			m.overruns.DeleteLabelValues(strconv.FormatUint(uint64(before.ID), 10), name)
		}
	}
}

// channelMetrics are the metrics of one channel, looked up once.
type channelMetrics struct {
	points, sent, ingestFailures, queueFull prometheus.Counter
	complete, partial, failed               prometheus.Counter
	overruns                                func(group string) prometheus.Counter
	pollSeconds                             prometheus.Observer
	online                                  prometheus.Gauge
}

func (m *metrics) of(channel string) channelMetrics {
	return channelMetrics{
		points: m.points.WithLabelValues(channel), sent: m.sent.WithLabelValues(channel),
		overruns:       func(group string) prometheus.Counter { return m.overruns.WithLabelValues(channel, group) },
		ingestFailures: m.ingestFailures.WithLabelValues(channel), queueFull: m.queueFull.WithLabelValues(channel),
		complete: m.polls.WithLabelValues(channel, pollComplete), partial: m.polls.WithLabelValues(channel, pollPartial),
		failed:      m.polls.WithLabelValues(channel, pollFailed),
		pollSeconds: m.pollSeconds.WithLabelValues(channel), online: m.online.WithLabelValues(channel),
	}
}
