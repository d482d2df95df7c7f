package modbus

import (
	"errors"
	"os"
	"strconv"
	"sync"

	"github.com/goburrow/modbus"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// metrics counts what travels. The label channel has one value for each channel
// of the site, unit one for each unit that its points name and "other", code one
// for each exception that the specification knows and "other".
type metrics struct {
	requests   *prometheus.CounterVec
	exceptions *prometheus.CounterVec
	failures   *prometheus.CounterVec
	leftOut    *prometheus.CounterVec
	roundTrip  *prometheus.HistogramVec
}

// The values of the label reason of failures.
const (
	failedTimeout    = "timeout"    // no whole reply in time
	failedMalformed  = "malformed"  // what came is no reply to the request
	failedConnection = "connection" // none could be made, or it broke
)

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "voltage_comsrv_modbus_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests:   counter("requests_total", "Requests sent, answered or not.", "channel", "unit"),
		exceptions: counter("exceptions_total", "Requests that the device refused, by code of its exception.", "channel", "unit", "code"),
		failures:   counter("failures_total", "Requests without an answer, or not sent because there was no connection.", "channel", "unit", "reason"),
		leftOut:    counter("left_out_total", "Requests not made because the unit did not answer and others behind its connection do.", "channel", "unit"),
		roundTrip: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "voltage_comsrv_modbus_round_trip_seconds", Help: "From the first byte of a request to the last of its reply.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"channel"}),
	}
	for _, collector := range []prometheus.Collector{m.requests, m.exceptions, m.failures, m.leftOut, m.roundTrip} {
		if err := registry.Register(collector); err != nil {
			return nil, ems.Errorf(ems.CodeInternal, "metrics of Modbus: %w", err)
		}
	}
	return m, nil
}

// forget removes all series of a channel. A driver that still counts counts for
// nobody.
func (m *metrics) forget(channel ems.ChannelID) {
	of := prometheus.Labels{"channel": strconv.FormatUint(uint64(channel), 10)}
	for _, series := range []interface {
		DeletePartialMatch(labels prometheus.Labels) int
	}{m.requests, m.exceptions, m.failures, m.leftOut, m.roundTrip} {
		series.DeletePartialMatch(of)
	}
}

// unitMetrics are the metrics of one unit of a channel, looked up once.
type unitMetrics struct {
	requests, leftOut              prometheus.Counter
	timeout, malformed, connection prometheus.Counter
	exceptions                     *prometheus.CounterVec // by code
	codes                          sync.Map               // code -> the counter of those that came
	roundTrip                      prometheus.Observer
}

// otherUnit is the label of the units that no point of a channel names.
const otherUnit = "other"

// of returns the metrics of every unit that a channel names.
func (m *metrics) of(channel *config.Channel) map[uint8]*unitMetrics {
	units := map[uint8]*unitMetrics{}
	for i := range channel.Points {
		unit := channel.Points[i].Mapping.Unit
		if units[unit] == nil {
			units[unit] = m.ofUnit(channel, strconv.Itoa(int(unit)))
		}
	}
	return units
}

func (m *metrics) ofUnit(channel *config.Channel, unit string) *unitMetrics {
	id := strconv.FormatUint(uint64(channel.ID), 10)
	return &unitMetrics{
		requests: m.requests.WithLabelValues(id, unit), leftOut: m.leftOut.WithLabelValues(id, unit),
		timeout:    m.failures.WithLabelValues(id, unit, failedTimeout),
		malformed:  m.failures.WithLabelValues(id, unit, failedMalformed),
		connection: m.failures.WithLabelValues(id, unit, failedConnection),
		exceptions: m.exceptions.MustCurryWith(prometheus.Labels{"channel": id, "unit": unit}),
		roundTrip:  m.roundTrip.WithLabelValues(id),
	}
}

// count counts a request that ended without what was asked for.
func (m *unitMetrics) count(err error) {
	var exception *modbus.ModbusError
	var malformed *frameError
	var broken *brokenError
	switch {
	case errors.As(err, &exception):
		code := codeLabel(exception.ExceptionCode)
		counter := m.exceptions.WithLabelValues(code)
		counter.Inc()
		m.codes.Store(code, counter)
	case errors.As(err, &malformed):
		m.malformed.Inc()
	case errors.As(err, &broken) && broken.sent && errors.Is(err, os.ErrDeadlineExceeded):
		m.timeout.Inc()
	case errors.As(err, &broken):
		m.connection.Inc()
	}
}

func codeLabel(code byte) string {
	if exceptionText(code) == unknownException {
		return "other"
	}
	return strconv.Itoa(int(code))
}
