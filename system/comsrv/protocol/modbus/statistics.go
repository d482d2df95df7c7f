package modbus

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
)

// Statistics implements protocol.Measurable.
func (d *Driver) Statistics() protocol.Statistics {
	statistics := protocol.Statistics{Units: []protocol.UnitStatistics{}}
	open := d.open.Load()
	for _, unit := range slices.Sorted(maps.Keys(d.counters)) {
		counters := d.counters[unit]
		one := counters.statistics(strconv.Itoa(int(unit)))
		statistics.RoundTrip = protocol.Summarize(counters.roundTrip) // of the channel: the same for all
		if open != nil {
			state, until, reason := open.health.state(unit)
			one.State, one.Reason = state, reason
			if !until.IsZero() {
				one.Until = &until
			}
		}
		statistics.Units = append(statistics.Units, one)
	}
	if other := d.other.Load(); other != nil {
		statistics.RoundTrip = protocol.Summarize(other.roundTrip)
		statistics.Units = append(statistics.Units, other.statistics(otherUnit))
	}
	return statistics
}

func (m *unitMetrics) statistics(unit string) protocol.UnitStatistics {
	statistics := protocol.UnitStatistics{
		Unit: unit, State: protocol.UnitUnknown, Requests: protocol.Number(m.requests), LeftOut: protocol.Number(m.leftOut),
		Failures: map[string]uint64{
			failedTimeout: protocol.Number(m.timeout), failedMalformed: protocol.Number(m.malformed), failedConnection: protocol.Number(m.connection),
		},
		Exceptions: map[string]uint64{},
	}
	m.codes.Range(func(code, counter any) bool {
		statistics.Exceptions[code.(string)] = protocol.Number(counter.(prometheus.Counter))
		return true
	})
	return statistics
}
