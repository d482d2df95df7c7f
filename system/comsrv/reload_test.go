package comsrv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// load sends commands for a point, one after the other, until it is stopped, and
// notes how each ended. Each has a value of its own.
type load struct {
	mu      sync.Mutex
	ended   map[string]ems.CommandState // by what the device is written
	refused map[ems.ChannelID]string    // why the last one failed that did
	faults  []string
	stop    chan struct{}
	working sync.WaitGroup
}

// ask sends commands over HTTP.
func (l *load) ask(p *plant, id ems.ChannelID) {
	for number := 1; ; number++ {
		select {
		case <-l.stop:
			return
		default:
		}
		status, reply, err := p.request(http.MethodPost, fmt.Sprintf("/api/channels/%d/points/A/1", id), fmt.Sprintf(`{"value": %v}`, float64(number)/2))
		state := ems.CommandDone
		switch {
		case err != nil:
			l.fault("%v", err)
		case status == http.StatusOK:
		case reply.Error.Code == ems.CodeConflict:
			state = ems.CommandFailed
			l.mu.Lock()
			l.refused[id] = reply.Error.Message
			l.mu.Unlock()
		case reply.Error.Code == ems.CodeUnknown: // the machine was too slow
			state = ems.CommandUnknown
		case reply.Error.Code == ems.CodeNotFound: // it was never a command
			continue
		default:
			l.fault("channel %d: %d %+v", id, status, reply.Error)
		}
		l.mu.Lock()
		l.ended[fmt.Sprintf("%d: 6@10=%d", id, number)] = state
		l.mu.Unlock()
	}
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// check holds how commands ended against what a device was written.
func (l *load) check(t *testing.T, id ems.ChannelID, written []string) (done, failed int) {
	t.Helper()
	times := map[string]int{}
	for _, write := range written {
		times[fmt.Sprintf("%d: %s", id, write)]++
	}
	for command, state := range l.ended {
		if !strings.HasPrefix(command, fmt.Sprintf("%d: ", id)) {
			continue
		}
		count := times[command]
		delete(times, command)
		switch state {
		case ems.CommandDone:
			done++
			if count != 1 {
				t.Errorf("%s is done and was written %d times", command, count)
			}
		case ems.CommandUnknown:
			if count > 1 {
				t.Errorf("%s was written %d times", command, count)
			}
		default:
			failed++
			if count != 0 {
				t.Errorf("%s failed and was written %d times", command, count)
			}
		}
	}
	if len(times) > 0 {
		t.Errorf("written, and nobody asked for it: %v", times)
	}
	return done, failed
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not list open files")
	}
	return len(entries)
}

// TestAHundredReloadsUnderLoad lose nothing and leave nothing behind: channels are
// changed, removed and added each time while commands run, and one that stays the
// same does not notice. It runs alone, because it counts goroutines.
func TestAHundredReloadsUnderLoad(t *testing.T) {
	stable, changed, shared, coming := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	p, f := newFolderPlant(t)
	f.channels(f.field(1, stable, ""), f.field(2, changed, ""), f.field(3, shared, ""), f.field(4, shared, ""), f.field(5, coming, ""))
	p.site, _ = p.readSite()
	p.grace = servicetest.Soon // a busy machine takes longer for a poll than a reload waits
	// To read the whole folder a hundred times would take most of the time of the test.
	round := 0
	p.readSite = func() (*config.Site, error) {
		site := *p.site
		site.Channels = slices.Clone(site.Channels)
		site.Channels[1].Description, site.Channels[3].Description = fmt.Sprint(round), fmt.Sprint(round)
		site.Channels = site.Channels[:5-round%2]
		return &site, nil
	}
	p.start()
	witnesses := []*witness{p.watch(1, stable), p.watch(3, shared)}
	p.awaitStatus(4, true, "")
	l := &load{ended: map[string]ems.CommandState{}, refused: map[ems.ChannelID]string{}, stop: make(chan struct{})}
	for _, id := range []ems.ChannelID{1, 2, 5} {
		l.working.Go(func() { l.ask(p, id) })
	}
	goroutines, files, commands := 0, 0, 0
	for round = 1; round <= 100; round++ {
		got := p.reload()
		want := differences{
			Added: []ems.ChannelID{}, Changed: []ems.ChannelID{2, 4}, Removed: []ems.ChannelID{}, Unchanged: []ems.ChannelID{1, 3}, Aside: []ems.ChannelID{},
		}
		if round%2 == 0 {
			want.Added = []ems.ChannelID{5}
		} else {
			want.Removed = []ems.ChannelID{5}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
		if round == 10 {
			goroutines, files = runtime.NumGoroutine(), descriptors(t)
		}
		for enough := time.Now().Add(20 * time.Millisecond); time.Now().Before(enough); { // of commands, for something to run
			l.mu.Lock()
			more := len(l.ended) > commands+2
			l.mu.Unlock()
			if more {
				break
			}
			time.Sleep(time.Millisecond)
		}
		l.mu.Lock()
		commands = len(l.ended)
		l.mu.Unlock()
	}
	close(l.stop)
	l.working.Wait()
	witnesses[0].undisturbed()
	witnesses[1].connected(3, 4)
	for id, d := range map[ems.ChannelID]*device{1: stable, 2: changed, 5: coming} {
		done, failed := l.check(t, id, d.written())
		t.Logf("channel %d: %d commands done, %d failed", id, done, failed)
		if done == 0 || id == 1 && failed > 0 {
			t.Errorf("channel %d: %d commands done, %d failed: %s", id, done, failed, l.refused[id])
		}
	}
	for _, fault := range l.faults {
		t.Error(fault)
	}
	for _, id := range []ems.ChannelID{1, 2, 4, 5} {
		p.awaitStatus(id, true, "")
	}
	p.eventually(func() error {
		if more := runtime.NumGoroutine() - goroutines; more > 10 {
			return fmt.Errorf("%d goroutines more than after ten reloads", more)
		}
		if more := descriptors(t) - files; more > 10 {
			return fmt.Errorf("%d open files more than after ten reloads", more)
		}
		return nil
	}, "nothing that stays behind")
	if one, other := p.seriesOf(1), p.seriesOf(2); len(one) != len(other) {
		t.Errorf("%d series of the channel that was changed, %d of the one that was not", len(other), len(one))
	}
	p.eventually(func() error {
		var waiting int64
		for _, id := range []ems.ChannelID{1, 2, 4, 5} {
			count, err := p.DB.CommandsWaiting(context.Background(), id)
			if waiting += count; err != nil || waiting > 0 {
				return errors.Join(err, fmt.Errorf("%d commands wait", waiting))
			}
		}
		return nil
	}, "no command that waits")
	p.reload() // round 101
	p.wantNothingOf(5)
}
