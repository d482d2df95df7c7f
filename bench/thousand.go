package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// What the many devices have, and how their ages are sampled.
const (
	thousandPoints  = 100
	thousandChanged = 10
	sampleEvery     = 10 * time.Millisecond
	samplesAtOnce   = 10 // channels, the following ones each time
	thousandRounds  = 3  // spans
)

// measureThousand polls very many devices: whether every poll comes, how old the
// values are that somebody finds in Redis at any moment, and what comsrv needs.
func (s *server) measureThousand(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
	meters, err := openMeters(s.clock, s.sizes.thousand, layout{points: thousandPoints, changing: thousandChanged}, s.sizes.second)
	if err != nil {
		return nil, err
	}
	defer closeMeters(meters)
	a, err := s.acquire(ctx, thousandCase, meters, s.sizes.second)
	if err != nil {
		return nil, err
	}
	if err := s.verifyAcquired(ctx, a, len(meters)); err != nil { // Redis knows all of them
		return nil, err
	}
	of := newRecording(thousandCase, len(meters), histogram)
	began, before := s.clock.Now(), readProcess(a.comsrv.process.PID())
	arrived := countAll(meters, began)
	ages, err := s.sampleAges(ctx, a, thousandRounds*s.sizes.span)
	if err != nil {
		return nil, err
	}
	ended, after := s.clock.Now(), readProcess(a.comsrv.process.PID())
	arrived = countAll(meters, ended).since(arrived)
	of.note(before, after, ended.Sub(began))
	if err := of.add(arrived, arrived.polls, ended.Sub(began), ages); err != nil {
		return nil, err
	}
	if err := s.verifyAcquired(ctx, a, len(meters)); err != nil {
		return nil, err
	}
	return []Result{of.result()}, a.comsrv.end(ctx)
}

// sampleAges looks again and again how long ago channels were polled last with
// success.
func (s *server) sampleAges(ctx context.Context, a *acquisition, during time.Duration) ([]time.Duration, error) {
	var ages []time.Duration
	until := s.clock.Now().Add(during)
	for next := 0; s.clock.Now().Before(until); {
		if err := s.wait(ctx, sampleEvery); err != nil {
			return nil, err
		}
		pipeline := s.raw.Pipeline()
		replies := make([]*redis.StringCmd, samplesAtOnce)
		for i := range replies {
			channel := a.meters[next%len(a.meters)].channel
			replies[i] = pipeline.HGet(ctx, a.db.Namespace().Status(channel), "group:"+ems.DefaultGroup)
			next++
		}
		if _, err := pipeline.Exec(ctx); err != nil {
			return nil, s.fault(err)
		}
		now := s.clock.Now()
		for _, reply := range replies {
			ms, err := reply.Int64()
			if err != nil {
				return nil, s.fault(err)
			}
			ages = append(ages, max(1, now.Sub(ems.FromUnixMS(ms))))
		}
	}
	return ages, nil
}

// processUse is what a process has worked, and its memory.
type processUse struct {
	known     bool // there is a /proc
	worked    time.Duration
	megabytes float64 // resident
}

func readProcess(pid int) processUse {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processUse{}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return processUse{}
	}
	return processUse{known: true, worked: parseProcess(string(stat)), megabytes: parseResident(string(status))}
}

// parseResident reads "VmRSS: 1024 kB" of the status of a process, in megabytes of
// 10^6 bytes.
func parseResident(status string) float64 {
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "VmRSS:" {
			continue
		}
		if kilobytes, err := strconv.ParseFloat(fields[1], 64); err == nil {
			return kilobytes * 1024 / 1e6
		}
	}
	return 0
}
