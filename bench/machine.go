package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// referenceHSET is the server time of a native HSET of 100 fields on the machine
// for which the limits in microseconds were set.
const referenceHSET = 4800 * time.Nanosecond

// processorTime is what the processors of this machine have done since it
// started.
type processorTime struct {
	at         time.Time
	processors int           // 0 where there is no /proc/stat
	idle       time.Duration // of all of them together
	stolen     time.Duration // taken by the hypervisor
	bench      time.Duration // spent on this program, on the services it runs, and on Redis, where that is on this machine
}

// Neighbours is what the rest of the machine did during a run.
type Neighbours struct {
	Known  bool
	Others float64 // processors that other programs and the kernel kept busy, on average
	Stolen float64 // processors that the hypervisor took, on average
}

// Busy reports whether the rest of the machine did so much that times are longer
// than they would be without. Less is what the kernel takes for writing the file
// of Redis.
func (n Neighbours) Busy() bool { return n.Others+n.Stolen > 0.3 }

// readMachine reads how long the processors have worked, and for whom.
func (s *server) readMachine(ctx context.Context, now time.Time) (processorTime, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil { // not Linux
		return processorTime{}, nil
	}
	spent, err := parseProcessors(string(text))
	if err != nil {
		return processorTime{}, err
	}
	spent.at = now
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return processorTime{}, ems.Errorf(ems.CodeInternal, "the processor time of the bench is not known: %w", err)
	}
	var ended syscall.Rusage // services that have run and are gone
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ended); err != nil {
		return processorTime{}, ems.Errorf(ems.CodeInternal, "the processor time of services is not known: %w", err)
	}
	spent.bench = time.Duration(own.Utime.Nano() + own.Stime.Nano() + ended.Utime.Nano() + ended.Stime.Nano())
	if s.service != nil {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.service.process.PID()))
		if err != nil {
			return processorTime{}, ems.Errorf(ems.CodeUnavailable, "alarmsrv has ended: %w", err)
		}
		spent.bench += parseProcess(string(text))
	}
	if s.local {
		info, err := s.raw.Info(ctx, "cpu").Result()
		if err != nil {
			return processorTime{}, s.fault(err)
		}
		spent.bench += parseRedisProcessor(info)
	}
	return spent, nil
}

// since returns what the rest of the machine did since an earlier reading: all
// that was neither idle nor spent on the bench. Linux counts idle time exactly,
// and working time by samples that miss the short bursts of a bench.
func (p processorTime) since(before processorTime) Neighbours {
	elapsed := p.at.Sub(before.at)
	if p.processors == 0 || before.processors == 0 || elapsed <= 0 {
		return Neighbours{}
	}
	stolen := p.stolen - before.stolen
	others := time.Duration(p.processors)*elapsed - (p.idle - before.idle) - stolen - (p.bench - before.bench)
	return Neighbours{Known: true, Others: max(0, others.Seconds()/elapsed.Seconds()), Stolen: stolen.Seconds() / elapsed.Seconds()}
}

// tick is the unit of /proc/stat, the same on every Linux.
const tick = 10 * time.Millisecond

// parseProcessors reads the lines "cpu0 user nice system idle iowait irq softirq
// steal …" of /proc/stat, one for each processor.
func parseProcessors(text string) (processorTime, error) {
	var all processorTime
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
			continue
		}
		var ticks [8]time.Duration
		for i := range ticks {
			if len(fields) < 9 {
				return processorTime{}, ems.Errorf(ems.CodeInternal, "/proc/stat holds %q", line)
			}
			number, err := strconv.ParseInt(fields[i+1], 10, 64)
			if err != nil {
				return processorTime{}, ems.Errorf(ems.CodeInternal, "/proc/stat holds %q", line)
			}
			ticks[i] = time.Duration(number) * tick
		}
		all.processors++
		all.idle += ticks[3] + ticks[4]
		all.stolen += ticks[7]
	}
	return all, nil
}

// parseProcess reads what a process has worked from "12 (name) S …" of its stat:
// the twelfth and thirteenth number after the name, which may hold anything.
func parseProcess(text string) time.Duration {
	var all time.Duration
	if fields := strings.Fields(text[strings.LastIndex(text, ")")+1:]); len(fields) > 12 {
		for _, field := range fields[11:13] {
			if number, err := strconv.ParseInt(field, 10, 64); err == nil {
				all += time.Duration(number) * tick
			}
		}
	}
	return all
}

// parseRedisProcessor adds up INFO cpu: Redis and the children that rewrite its
// file.
func parseRedisProcessor(info string) time.Duration {
	var all time.Duration
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children":
			if seconds, err := strconv.ParseFloat(value, 64); err == nil {
				all += time.Duration(seconds * float64(time.Second))
			}
		}
	}
	return all
}

// describe says how this machine compares with the reference machine, and whether
// it had other things to do.
func (n Neighbours) describe(processors int, hset *Result) []string {
	var lines []string
	if factor := machineFactor(hset); factor > 0 {
		word := "as fast as"
		switch {
		case factor > 1.1:
			word = "SLOWER than"
		case factor < 0.9:
			word = "faster than"
		}
		least, most := hset.spread(metricServer)
		lines = append(lines, fmt.Sprintf("%s the reference machine: a native HSET of 100 fields takes %s us of server time here (%s to %s between rounds), %s us there: machine factor %.2f",
			word, micros(hset.value(metricServer)), micros(least), micros(most), micros(float64(referenceHSET)), factor))
	}
	switch {
	case !n.Known:
		lines = append(lines, "whether other programs kept it busy is not known here")
	default:
		word := "quiet"
		if n.Busy() {
			word = "BUSY, so that times are longer than on a quiet machine"
		}
		lines = append(lines, fmt.Sprintf("%s: other programs and the kernel kept %.2f of %d processors busy, and the hypervisor took %.2f", word, n.Others, processors, n.Stolen))
	}
	return lines
}

// machineFactor is how many times longer a native HSET takes than on the
// reference machine; 0 where it was not measured.
func machineFactor(hset *Result) float64 {
	if hset == nil {
		return 0
	}
	return hset.value(metricServer) / float64(referenceHSET)
}
