package managed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// syncBuffer is a buffer that a logger may write to while a test reads it.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(data)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// fileChild is a child that is ready once it has written its process id into a
// file.
func fileChild(name, folder string, order *syncBuffer, needs ...string) Child {
	path := filepath.Join(folder, name)
	return Child{
		Name: name, Needs: needs,
		Start: func(context.Context) (*Process, error) {
			_, _ = order.Write([]byte(name + " "))
			return StartProcess(Command{Name: name, Path: os.Args[0], Env: roleEnvironment("file:" + path)})
		},
		Probe: func(context.Context, int) error {
			_, err := os.Stat(path)
			return err
		},
	}
}

type runningSupervisor struct {
	*Supervisor
	log    *syncBuffer
	cancel context.CancelFunc
	result chan error
}

func supervise(t *testing.T, clock ems.Clock, children ...Child) *runningSupervisor {
	t.Helper()
	log := &syncBuffer{}
	supervisor, err := NewSupervisor(clock, slog.New(slog.NewTextHandler(log, nil)), children)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningSupervisor{Supervisor: supervisor, log: log, cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- supervisor.Run(ctx) }()
	t.Cleanup(func() {
		supervisor.Kill()
		cancel()
		<-r.result
	})
	return r
}

func (r *runningSupervisor) awaitReady(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatalf("%v\n%s", err, r.log)
	}
}

// stop ends the supervision and returns what Run returned.
func (r *runningSupervisor) stop(t *testing.T) error {
	t.Helper()
	r.cancel()
	return r.end(t)
}

func (r *runningSupervisor) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		r.result <- err
		return err
	case <-time.After(90 * time.Second):
		t.Fatalf("the supervision does not end: %+v\n%s", r.Status(), r.log)
		return nil
	}
}

func TestSupervisorStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	order := &syncBuffer{}
	folder := t.TempDir()
	s := supervise(t, ems.SystemClock{},
		fileChild("a", folder, order), fileChild("b", folder, order, "a"), fileChild("c", folder, order, "b", "a"))
	s.awaitReady(t)
	if got := order.String(); got != "a b c " {
		t.Errorf("started in the order %q", got)
	}
	var pids []int
	for i, status := range s.Status() {
		text, err := os.ReadFile(filepath.Join(folder, status.Name))
		if want := (Status{Name: string("abc"[i]), State: Ready, PID: status.PID}); status != want || err != nil {
			t.Errorf("status %+v, want %+v (%v)", status, want, err)
		}
		if string(text) != strconv.Itoa(status.PID) {
			t.Errorf("%s has the process id %s, the status says %d", status.Name, text, status.PID)
		}
		pids = append(pids, status.PID)
	}
	if err := s.stop(t); err != nil {
		t.Errorf("run: %v", err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left behind", pid)
		}
	}
	log := s.log.String()
	c, b, a := strings.Index(log, "stopped child=c"), strings.Index(log, "stopped child=b"), strings.Index(log, "stopped child=a")
	if c < 0 || b < c || a < b {
		t.Errorf("stopped out of order:\n%s", log)
	}
	if err := s.WaitReady(context.Background()); ems.CodeOf(err) != ems.CodeUnavailable {
		t.Errorf("after the end: %v", err)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	t.Parallel()
	order := &syncBuffer{}
	folder := t.TempDir()
	prepared := &syncBuffer{}
	first := fileChild("first", folder, order)
	first.Prepare = func(context.Context) error {
		_, err := prepared.Write([]byte("x"))
		return err
	}
	s := supervise(t, ems.SystemClock{}, first, fileChild("second", folder, order, "first"))
	s.awaitReady(t)
	before := s.Status()
	if err := syscall.Kill(before[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "a restart", func() bool { return s.Status()[0].Restarts == 1 })
	s.awaitReady(t)
	after := s.Status()
	if after[0].PID == before[0].PID || !alive(after[0].PID) {
		t.Errorf("process id %d before, %d after", before[0].PID, after[0].PID)
	}
	if !strings.Contains(after[0].LastError, "signal: killed") {
		t.Errorf("last error %q", after[0].LastError)
	}
	if after[1] != before[1] {
		t.Errorf("the other child was touched: %+v, before %+v", after[1], before[1])
	}
	if got := prepared.String(); got != "xx" {
		t.Errorf("prepared %d times, want at each start: 2", len(got))
	}
	if log := s.log.String(); !strings.Contains(log, "died, will be started again") || !strings.Contains(log, "child=first") {
		t.Errorf("not reported:\n%s", log)
	}
}

func TestPausesGrowOnTheInjectedClock(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	var starts int
	var mu sync.Mutex
	child := Child{Name: "fragile", Start: func(context.Context) (*Process, error) {
		mu.Lock()
		defer mu.Unlock()
		if starts++; starts > 1 {
			return nil, errors.New("no luck")
		}
		return StartProcess(Command{Name: "fragile", Path: os.Args[0], Env: roleEnvironment("wait")})
	}}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return starts
	}
	s := supervise(t, clock, child)
	s.awaitReady(t)
	if err := syscall.Kill(s.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pause := range []time.Duration{200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000} {
		pause *= time.Millisecond
		clock.AwaitTimers(1)
		await(t, "the pause to be told", func() bool { return s.Status()[0].State == BackingOff })
		before := count()
		clock.Advance(pause*8/10 - time.Millisecond)
		if count() != before || s.Status()[0].State != BackingOff {
			t.Fatalf("started again before %v", pause*8/10)
		}
		clock.Advance(pause*4/10 + 2*time.Millisecond)
		await(t, "the next start", func() bool { return count() == before+1 })
	}
}

func TestFirstStartThatFailsStopsTheOthers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	order := &syncBuffer{}
	broken := Child{Name: "broken", Needs: []string{"good"}, Start: func(context.Context) (*Process, error) {
		return StartProcess(Command{Name: "broken", Path: os.Args[0], Env: roleEnvironment("lines")})
	}, Probe: func(context.Context, int) error { return errors.New("silent") }}
	s := supervise(t, ems.SystemClock{}, fileChild("good", folder, order), broken, fileChild("never", folder, order, "broken"))
	err := s.end(t)
	if err == nil || !strings.Contains(err.Error(), "broken ended with exit status 3") || !strings.Contains(err.Error(), "three, without an end") {
		t.Errorf("error %v", err)
	}
	if got := order.String(); got != "good " {
		t.Errorf("started %q", got)
	}
	for _, status := range s.Status() {
		if status.State != Stopped || status.PID != 0 {
			t.Errorf("left: %+v", status)
		}
	}
	if waited := s.WaitReady(context.Background()); !errors.Is(waited, err) {
		t.Errorf("WaitReady tells %v", waited)
	}
}

func TestChildThatNeverBecomesReady(t *testing.T) {
	t.Parallel()
	s := supervise(t, ems.SystemClock{}, Child{
		Name: "mute", ReadyWithin: 50 * time.Millisecond,
		Start: func(context.Context) (*Process, error) {
			return StartProcess(Command{Name: "mute", Path: os.Args[0], Env: roleEnvironment("wait")})
		},
		Probe: func(context.Context, int) error { return errors.New("port closed") },
	})
	err := s.end(t)
	if want := "mute: not ready within 50ms: port closed"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestPrepareThatFailsIsFinal(t *testing.T) {
	t.Parallel()
	asked := 0
	s := supervise(t, ems.SystemClock{}, Child{
		Name: "locked",
		Start: func(context.Context) (*Process, error) {
			return StartProcess(Command{Name: "locked", Path: os.Args[0], Env: roleEnvironment("wait")})
		},
		Prepare: func(context.Context) error {
			asked++
			return ems.Errorf(ems.CodeDenied, "wrong password")
		},
	})
	err := s.end(t)
	if ems.CodeOf(err) != ems.CodeDenied || err.Error() != "locked: wrong password" || asked != 1 {
		t.Errorf("error %v after %d attempts", err, asked)
	}
}

func TestKillShortensTheStop(t *testing.T) {
	t.Parallel()
	record := newLineRecord()
	s := supervise(t, ems.SystemClock{}, Child{
		Name: "stubborn", StopWithin: time.Hour,
		Start: func(context.Context) (*Process, error) {
			return StartProcess(Command{Name: "stubborn", Path: os.Args[0], Env: roleEnvironment("stubborn"), Line: record.take})
		},
		Probe: func(context.Context, int) error {
			if len(record.all()) == 0 {
				return errors.New("not up yet")
			}
			return nil
		},
	})
	s.awaitReady(t)
	s.cancel()
	await(t, "the stop to begin", func() bool { return s.Status()[0].State == Stopping })
	s.Kill()
	if err := s.end(t); err != nil {
		t.Errorf("run: %v", err)
	}
	if log := s.log.String(); !strings.Contains(log, "was killed") {
		t.Errorf("the killing is not reported:\n%s", log)
	}
}

func TestWaitReadyNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := supervise(t, ems.SystemClock{}, Child{
		Name: "slow",
		Start: func(context.Context) (*Process, error) {
			return StartProcess(Command{Name: "slow", Path: os.Args[0], Env: roleEnvironment("wait")})
		},
		Probe: func(context.Context, int) error { return errors.New("not yet") },
	}, Child{Name: "later", Needs: []string{"slow"}})
	await(t, "a process", func() bool { return s.Status()[0].PID != 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.WaitReady(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "slow starting; later waiting") {
		t.Errorf("error %v", err)
	}
}

func TestNewSupervisorChecksItsList(t *testing.T) {
	t.Parallel()
	for want, children := range map[string][]Child{
		`two children are called "x"`:                       {{Name: "x"}, {Name: "x"}},
		`x needs "y", which does not stand before it`:       {{Name: "x", Needs: []string{"y"}}, {Name: "y"}},
		`alone needs "alone", which does not stand before`:  {{Name: "alone", Needs: []string{"alone"}}},
		`b needs "missing", which does not stand before it`: {{Name: "a"}, {Name: "b", Needs: []string{"missing"}}},
	} {
		_, err := NewSupervisor(ems.SystemClock{}, slog.New(slog.DiscardHandler), children)
		if ems.CodeOf(err) != ems.CodeInvalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
