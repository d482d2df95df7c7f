package comsrv

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
)

// TestThousandWritesRacingPolls: each value reaches the device once, in order, and
// what Redis shows at the end is the last one.
func TestThousandWritesRacingPolls(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.PollPeriod = 10 * time.Millisecond
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	const count, together = 1000, 20
	for first := 0; first < count; first += together {
		var sent []ems.Command
		for i := first; i < first+together; i++ {
			sent = append(sent, command(fmt.Sprintf("c%d", i), ems.Adjustment, 1, float64(i)/2))
		}
		p.send(sent...)
		for _, asked := range sent {
			if ended := p.await(asked.ID); ended.State != ems.CommandDone || *ended.ReadBack != asked.Value {
				t.Fatalf("%+v", ended)
			}
		}
	}
	written := d.written()
	for i := range max(count, len(written)) {
		if i >= len(written) || i >= count || written[i] != fmt.Sprintf("6@10=%d", i) {
			t.Fatalf("%d writes, the first that is not the one asked for is number %d", len(written), i)
		}
	}
	p.awaitShown("1", "499.500000")
	p.wantEmptyStream()
}

// life is the plain reference of what may come of commands: which values may be
// in force at one point, and how often each was sent.
type life struct {
	p        *plant
	d        *device
	number   int
	asked    map[string]ems.Command // by what the device is written
	ended    map[string]ems.CommandState
	running  bool
	device   bool
	answers  bool
	accepted bool
}

// ask sends a command of which the value tells the id.
func (l *life) ask(t *rapid.T) {
	l.number++
	asked := command(fmt.Sprintf("c%d", l.number), ems.Adjustment, 1, float64(l.number)/2)
	if rapid.Bool().Draw(t, "short") {
		asked.Deadline = asked.Issued.Add(50 * time.Millisecond)
	}
	l.p.send(asked)
	l.asked[fmt.Sprintf("6@10=%d", l.number)] = asked
}

// settle waits until every command has ended, and holds each to what was written.
func (l *life) settle(t *rapid.T) {
	if !l.running {
		l.start()
	}
	times := map[string]int{}
	for write, asked := range l.asked {
		state := l.p.await(asked.ID).State
		if before, known := l.ended[asked.ID]; known && before != state {
			t.Fatalf("%s was %s and is %s", asked.ID, before, state)
		}
		l.ended[asked.ID] = state
		times[write] = 0
	}
	for _, write := range l.d.written() {
		times[write]++
	}
	for write, count := range times {
		state := l.ended[l.asked[write].ID]
		switch {
		case count > 1:
			t.Fatalf("%s reached the device %d times", write, count)
		case state == ems.CommandDone && count != 1:
			t.Fatalf("%s is done and reached the device %d times", write, count)
		case state == ems.CommandExpired && count != 0:
			t.Fatalf("%s is expired and reached the device", write)
		case state == ems.CommandFailed && count != 0 && l.accepted:
			t.Fatalf("%s is failed and reached a device that refuses nothing", write)
		}
	}
}

func (l *life) start() {
	l.p.start()
	l.running = true
}

// TestLifeOfCommands compares random lives of commands, with restarts of comsrv,
// Redis and the device, with a plain reference: at most once each, never after the
// deadline, and an end that stays.
func TestLifeOfCommands(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = 500 * time.Millisecond
	p := newPlant(t, entry)
	l := &life{p: p, d: d, asked: map[string]ems.Command{}, ended: map[string]ems.CommandState{}, device: true, answers: true, accepted: true}
	l.start()
	rapid.Check(t, func(t *rapid.T) {
		t.Repeat(map[string]func(*rapid.T){
			"ask":    l.ask,
			"ask 2":  l.ask,
			"settle": l.settle,
			"comsrv": func(*rapid.T) {
				if l.running {
					l.running = false
					l.p.stop()
				} else {
					l.start()
				}
			},
			"redis": func(*rapid.T) {
				l.p.Redis.Restart()
				_ = l.p.Raw.Ping(context.Background()).Err() // the connections of before are gone
				_ = l.p.DB.Ping(context.Background())
			},
			"device": func(*rapid.T) {
				if l.device = !l.device; l.device {
					l.d.on()
				} else {
					l.d.off()
				}
			},
			"silence": func(*rapid.T) {
				l.answers = !l.answers
				l.d.set(func() { l.d.silent[6] = !l.answers })
			},
		})
		if !l.device {
			l.d.on()
			l.device = true
		}
		l.answers = true
		l.d.set(func() { l.d.silent[6] = false })
		l.settle(t)
	})
}
