package bench

import (
	"encoding/json"
	"io"
	"time"
)

type resultJSON struct {
	Case        string    `json:"case"`
	API         bool      `json:"api"` // at a service: the time in Redis is not told, and 0
	Connections int       `json:"connections"`
	Calls       int64     `json:"calls"`
	Missed      int64     `json:"missed"`
	PerS        float64   `json:"calls_per_s"`
	Points      float64   `json:"points_per_s"`
	Server      float64   `json:"server_us"`
	Servers     []float64 `json:"server_us_of_rounds"`
	P50         float64   `json:"p50_us"`
	P99         float64   `json:"p99_us"`
	P999        float64   `json:"p99_9_us"`
	Max         float64   `json:"max_us"`
	Slowest     float64   `json:"slowest_us"` // 0: no command above 1 ms
	Sampled     bool      `json:"sampled"`
	Cores       float64   `json:"cores"`       // of the process that reads devices
	Megabytes   float64   `json:"resident_mb"` // of the same; 0: not measured
}

type verdictJSON struct {
	Threshold string  `json:"threshold"`
	Measured  bool    `json:"measured"`
	Found     float64 `json:"found"` // us, calls/s, points/s, a multiple or a difference
	Deviation float64 `json:"deviation"`
	Passed    bool    `json:"passed"`
}

type machineJSON struct {
	Processors int     `json:"processors"`
	Factor     float64 `json:"factor"`       // 0: not measured
	Known      bool    `json:"others_known"` // whether the next two are
	Others     float64 `json:"others"`       // processors that other programs kept busy
	Stolen     float64 `json:"stolen"`       // processors that the hypervisor took
	Busy       bool    `json:"busy"`
}

type reportJSON struct {
	Started    time.Time     `json:"started"`
	Redis      string        `json:"redis"`
	Library    string        `json:"library"`
	Rounds     int           `json:"rounds"`
	Slice      float64       `json:"slice_s"`
	Rate       float64       `json:"rate_per_s"` // 0: each call when the one before is answered
	Machine    machineJSON   `json:"machine"`
	Results    []resultJSON  `json:"results"`
	Thresholds []verdictJSON `json:"thresholds"`
}

// WriteJSON writes the report for programs: durations in microseconds.
func (r *Report) WriteJSON(to io.Writer) error {
	report := reportJSON{
		Started: r.Started, Redis: r.Redis, Library: r.Library, Rounds: r.Rounds, Slice: r.Slice.Seconds(), Rate: r.Rate,
		Machine: machineJSON{
			Processors: r.Processors, Factor: machineFactor(find(r.Results, hsetCase)), Known: r.Neighbours.Known,
			Others: r.Neighbours.Others, Stolen: r.Neighbours.Stolen, Busy: r.Neighbours.Busy(),
		},
		Results: []resultJSON{}, Thresholds: []verdictJSON{},
	}
	us := func(ns float64) float64 { return ns / float64(time.Microsecond) }
	for i := range r.Results {
		one := &r.Results[i]
		row := resultJSON{
			Case: one.Case, API: one.API, Connections: one.Connections, Calls: one.Calls, Missed: one.Missed,
			PerS: one.value(metricCalls), Points: one.value(metricPoints),
			Server: us(one.value(metricServer)), P50: us(one.value(metricP50)), P99: us(one.value(metricP99)),
			P999: us(one.value(metricP999)), Max: us(one.value(metricMax)), Slowest: us(one.value(metricSlowest)), Sampled: one.Sampled,
			Cores: one.Cores, Megabytes: one.Megabytes,
		}
		for _, server := range one.of(metricServer) {
			row.Servers = append(row.Servers, us(server))
		}
		report.Results = append(report.Results, row)
	}
	for _, one := range r.Verdicts {
		found := one.Found
		if one.Threshold.isTime() {
			found = us(found)
		}
		report.Thresholds = append(report.Thresholds, verdictJSON{
			Threshold: one.Threshold.String(), Measured: one.Measured, Found: found, Deviation: one.Deviation(), Passed: one.Passed,
		})
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}
