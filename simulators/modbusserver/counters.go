package modbusserver

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/system/ems"
)

// mostException is the greatest exception code of the specification.
const mostException = 11

// counters are what a server has done. Counting costs an addition: Prometheus is
// given the numbers when it asks.
type counters struct {
	requests    [len(functions)]atomic.Uint64 // by function code; 0 stands for unsupported ones
	exceptions  [mostException + 1]atomic.Uint64
	served      atomic.Uint64
	connections atomic.Int64
	accepted    atomic.Uint64
	refused     atomic.Uint64
	malformed   atomic.Uint64
	disturbed   [len(faultKinds)]atomic.Uint64

	metrics [8]*prometheus.Desc
}

// The metrics of a server.
const (
	metricRequests = iota
	metricExceptions
	metricServed
	metricConnections
	metricAccepted
	metricRefused
	metricMalformed
	metricFaults
)

func newCounters(name string, metrics prometheus.Registerer) (*counters, error) {
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("simulator_modbus_"+metric, help, labels, prometheus.Labels{"device": name})
	}
	c := &counters{metrics: [...]*prometheus.Desc{
		metricRequests:    desc("requests_total", "Requests received, by function code; other stands for unsupported ones.", "function"),
		metricExceptions:  desc("exceptions_total", "Requests answered with an exception, by exception code.", "exception"),
		metricServed:      desc("registers_served_total", "Registers and bits read or written without exception."),
		metricConnections: desc("connections", "Clients connected."),
		metricAccepted:    desc("connections_total", "Clients that were connected."),
		metricRefused:     desc("connections_refused_total", "Clients sent away because of the connection limit or a fault."),
		metricMalformed:   desc("malformed_frames_total", "Connections ended because of a header that is not Modbus TCP, and RTU frames with a wrong CRC."),
		metricFaults:      desc("faults_total", "Requests and connections that a fault struck, by kind.", "kind"),
	}}
	if err := metrics.Register(c); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "metrics of the Modbus server of %s: %w", name, err)
	}
	return c, nil
}

func (c *counters) request(code byte) {
	if functionOf(code) == nil {
		code = 0
	}
	c.requests[code].Add(1)
}

// answered notes what became of a request.
func (c *counters) answered(reply []byte, served int) {
	if len(reply) == 2 && reply[0]&0x80 != 0 {
		c.exception(mbserver.Exception(reply[1]))
		return
	}
	c.served.Add(uint64(served))
}

func (c *counters) exception(reason mbserver.Exception) {
	if reason <= mostException {
		c.exceptions[reason].Add(1)
	}
}

// Describe implements prometheus.Collector.
func (c *counters) Describe(to chan<- *prometheus.Desc) {
	for _, one := range c.metrics {
		to <- one
	}
}

// Collect implements prometheus.Collector. What has a label is left out until it
// happens.
func (c *counters) Collect(to chan<- prometheus.Metric) {
	send := func(metric int, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(c.metrics[metric], kind, value, labels...)
	}
	for code := range c.requests {
		label := "other"
		if code > 0 {
			label = strconv.Itoa(code)
		}
		if count := c.requests[code].Load(); count > 0 {
			send(metricRequests, prometheus.CounterValue, float64(count), label)
		}
	}
	for code := range c.exceptions {
		if count := c.exceptions[code].Load(); count > 0 {
			send(metricExceptions, prometheus.CounterValue, float64(count), strconv.Itoa(code))
		}
	}
	for i := range c.disturbed {
		if count := c.disturbed[i].Load(); count > 0 {
			send(metricFaults, prometheus.CounterValue, float64(count), string(faultKinds[i].Kind))
		}
	}
	send(metricServed, prometheus.CounterValue, float64(c.served.Load()))
	send(metricConnections, prometheus.GaugeValue, float64(c.connections.Load()))
	send(metricAccepted, prometheus.CounterValue, float64(c.accepted.Load()))
	send(metricRefused, prometheus.CounterValue, float64(c.refused.Load()))
	send(metricMalformed, prometheus.CounterValue, float64(c.malformed.Load()))
}
