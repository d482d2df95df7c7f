package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestProcessorTimeIsReadOfEveryProcessor(t *testing.T) {
	const stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 400 50 6 7 8 9 10\ncpu1 1 2 3 100 5 6 7 1 0 0\nintr 5 6\n\nctxt 7\n"
	got, err := parseProcessors(stat)
	// In ticks of 10 ms: the fourth and fifth are idle, the eighth is stolen.
	if want := (processorTime{processors: 2, idle: 5550 * time.Millisecond, stolen: 90 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"cpu0 1 2 3 4 5 6 7", "cpu0 1 2 x 4 5 6 7 8"} {
		if _, err := parseProcessors(text); ems.CodeOf(err) != ems.CodeInternal {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRedisTellsItsProcessorTime(t *testing.T) {
	const info = "# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:2.250000\r\nused_cpu_sys_children:0.125000\r\nused_cpu_user_children:0.125000\r\n" +
		"used_cpu_sys_main_thread:9\r\n"
	if got := parseRedisProcessor(info); got != 4*time.Second {
		t.Errorf("%v", got)
	}
}

func TestAProcessHasWorkedForItselfAndInTheKernel(t *testing.T) {
	const stat = "4711 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20 0 9 0 1"
	if got := parseProcess(stat); got != 3*time.Second {
		t.Errorf("%v", got)
	}
	if got := parseProcess("4711 (a) Z 1"); got != 0 {
		t.Errorf("%v of too little", got)
	}
}

func TestNeighboursAreWhatTheBenchDidNotDoItself(t *testing.T) {
	began := time.Unix(1_782_000_000, 0)
	before := processorTime{at: began, processors: 2, idle: 100 * time.Second, stolen: time.Second, bench: 20 * time.Second}
	// Of 20 s of two processors 4 s are idle, 0.5 s stolen and 10.5 s of the bench.
	after := processorTime{at: began.Add(10 * time.Second), processors: 2, idle: 104 * time.Second, stolen: 1500 * time.Millisecond, bench: 30500 * time.Millisecond}
	got := after.since(before)
	if want := (Neighbours{Known: true, Others: 0.5, Stolen: 0.05}); got != want || !got.Busy() {
		t.Errorf("%+v", got)
	}
	after.bench = 40 * time.Second // ticks are coarse: the rest may come out below nothing
	if got := after.since(before); got.Others != 0 || got.Busy() {
		t.Errorf("%+v", got)
	}
	after.processors = 0
	if got := after.since(before); got != (Neighbours{}) || got.Busy() {
		t.Errorf("without /proc/stat: %+v", got)
	}
	if lines := (Neighbours{}).describe(2, nil); len(lines) != 1 || lines[0] != "whether other programs kept it busy is not known here" {
		t.Errorf("%q", lines)
	}
}

func TestAFasterMachineIsCalledSo(t *testing.T) {
	lines := Neighbours{Known: true, Stolen: 0.4}.describe(2, &Result{Rounds: []Round{{Server: 2400}}})
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "faster than the reference machine: ") || !strings.HasSuffix(lines[0], "machine factor 0.50") ||
		!strings.HasPrefix(lines[1], "BUSY") {
		t.Errorf("%q", lines)
	}
}

// The time of this program and of its Redis is not that of others.
func TestTheMachineIsReadWhileTheBenchWorks(t *testing.T) {
	t.Parallel()
	server := own(t)
	before, err := server.readMachine(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); {
		if err := server.db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	after, err := server.readMachine(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if before.processors == 0 {
		t.Skip("no /proc/stat here")
	}
	if spent := after.bench - before.bench; spent <= 10*time.Millisecond || after.processors != before.processors {
		t.Errorf("100 ms of calls took %v of %d processors", spent, after.processors)
	}
}

func TestIsLocal(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:6379": true, "[::1]:6379": true, "localhost:6379": true, "/run/redis.sock": true, "10.0.0.7:6379": false, "redis:6379": false,
	} {
		if isLocal(address) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}
