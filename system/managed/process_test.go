package managed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
)

// roleVariable makes this test binary play a child instead of running tests.
const roleVariable = "MANAGED_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

// play is the body of a child process. It returns the exit status.
func play(role string) int {
	role, argument, _ := strings.Cut(role, ":")
	stop := make(chan os.Signal, 1)
	switch role {
	case "lines":
		fmt.Println("one")
		fmt.Fprintln(os.Stderr, "two")
		fmt.Print("three, without an end")
		return 3
	case "wait":
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("waiting")
		<-stop
		fmt.Println("asked to stop")
		return 0
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("waiting")
		select {}
	case "parent": // starts a supervised child and tells its process id
		up := make(chan struct{})
		child, err := StartProcess(Command{Name: "child", Path: os.Args[0], Env: roleEnvironment("wait"), Line: func(string) { close(up) }})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		<-up // from here on it writes nothing, so a closed pipe does not end it
		fmt.Println(child.PID())
		select {}
	case "forker": // leaves a process of its own behind in its group
		behind := exec.Command(os.Args[0])
		behind.Env = roleEnvironment("wait")
		if err := behind.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(behind.Process.Pid)
		return 0
	case "file": // writes its process id into a file, then waits
		if err := os.WriteFile(argument, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return 1
		}
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
		return 0
	default:
		fmt.Println("unknown role", role)
		return 2
	}
}

func roleEnvironment(role string) []string {
	return append(os.Environ(), roleVariable+"="+role)
}

// lineRecord gathers the output of a child.
type lineRecord struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLineRecord() *lineRecord { return &lineRecord{more: make(chan struct{}, 1000)} }

func (r *lineRecord) take(line string) {
	r.mu.Lock()
	r.lines = append(r.lines, line)
	r.mu.Unlock()
	r.more <- struct{}{}
}

func (r *lineRecord) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *lineRecord) awaitFirst(t *testing.T) string {
	t.Helper()
	select {
	case <-r.more:
		return r.all()[0]
	case <-time.After(90 * time.Second):
		t.Fatal("the child wrote nothing")
		return ""
	}
}

func startRole(t *testing.T, role string) (*Process, *lineRecord) {
	t.Helper()
	record := newLineRecord()
	process, err := StartProcess(Command{Name: role, Path: os.Args[0], Env: roleEnvironment(role), Line: record.take})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return process, record
}

func awaitExited(t *testing.T, process *Process) {
	t.Helper()
	select {
	case <-process.Exited():
	case <-time.After(90 * time.Second):
		t.Fatalf("process %d did not end", process.PID())
	}
}

// alive reports whether a process runs; one that ended and waits to be reaped
// does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && runtime.GOOS != "linux"
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	await(t, fmt.Sprintf("process %d to be gone", pid), func() bool { return !alive(pid) })
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(90 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestProcessTellsItsOutputAndItsEnd(t *testing.T) {
	t.Parallel()
	process, record := startRole(t, "lines")
	awaitExited(t, process)
	lines := record.all()
	slices.Sort(lines)
	if want := []string{"one", "three, without an end", "two"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	var exit *exec.ExitError
	if err := process.Err(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("error %v, want exit status 3", err)
	} else if !strings.Contains(err.Error(), "three, without an end") {
		t.Errorf("error %q does not hold the last line", err)
	}
}

func TestProcessThatCannotStart(t *testing.T) {
	t.Parallel()
	_, err := StartProcess(Command{Name: "ghost", Path: filepath.Join(t.TempDir(), "none")})
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "ghost cannot be started: ") {
		t.Errorf("error %v", err)
	}
}

func TestStopAsksFirst(t *testing.T) {
	t.Parallel()
	process, record := startRole(t, "wait")
	record.awaitFirst(t)
	if process.Err() != nil {
		t.Errorf("a running process has the error %v", process.Err())
	}
	if err := process.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if want := []string{"waiting", "asked to stop"}; !slices.Equal(record.all(), want) {
		t.Errorf("lines %q, want %q", record.all(), want)
	}
	if process.Err() != nil || alive(process.PID()) {
		t.Errorf("after the stop: error %v, alive %v", process.Err(), alive(process.PID()))
	}
	if err := process.Stop(context.Background()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStopKillsAtTheDeadline(t *testing.T) {
	t.Parallel()
	process, record := startRole(t, "stubborn")
	record.awaitFirst(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := process.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "did not stop when asked and was killed") {
		t.Errorf("error %v", err)
	}
	if alive(process.PID()) {
		t.Error("it is still there")
	}
}

func TestNothingIsLeftInTheGroup(t *testing.T) {
	t.Parallel()
	process, record := startRole(t, "forker")
	awaitExited(t, process)
	if err := process.Err(); err != nil {
		t.Fatal(err)
	}
	behind, err := strconv.Atoi(record.all()[0])
	if err != nil {
		t.Fatalf("the child wrote %q", record.all())
	}
	awaitGone(t, behind)
}

// The kernel ties the death signal to the thread that forked. A child must
// outlive the thread that asked for it.
func TestChildOutlivesTheThreadThatAskedForIt(t *testing.T) {
	t.Parallel()
	record := newLineRecord()
	result := make(chan *Process)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		process, err := StartProcess(Command{Name: "wait", Path: os.Args[0], Env: roleEnvironment("wait"), Line: record.take})
		if err != nil {
			t.Error(err)
		}
		result <- process
	}()
	process := <-result
	if process == nil {
		t.FailNow()
	}
	t.Cleanup(process.Kill)
	record.awaitFirst(t)
	if err := process.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if want := []string{"waiting", "asked to stop"}; !slices.Equal(record.all(), want) {
		t.Errorf("lines %q, want %q: it was killed before it was asked", record.all(), want)
	}
}

func TestNoOrphanAfterTheParentWasKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("only Linux signals a child at its parent's death")
		return
	}
	parent := exec.Command(os.Args[0])
	parent.Env = roleEnvironment("parent")
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent wrote %q", line)
	}
	if !alive(child) {
		t.Fatal("the child was gone before its parent")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent ended by itself")
	}
	awaitGone(t, child)
}

func TestOverlongLineIsCut(t *testing.T) {
	t.Parallel()
	var lines []string
	splitter := &lineSplitter{line: func(line string) { lines = append(lines, line) }}
	long := strings.Repeat("x", longestLine)
	for _, piece := range []string{long[:100], long[100:] + "y", "more\nshort", " line\r\n", "\n", "end"} {
		if n, err := splitter.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(piece), err)
		}
	}
	splitter.finish()
	if want := []string{long + " [cut]", "short line", "end"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q", lines)
	}
}

func TestLogFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "x.log")
	log, err := OpenLogFile(path, 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"first line", "second", "third line", "fourth"} {
		log.Line(line)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	log.Line("too late")
	if log.Lost() != 1 {
		t.Errorf("%d lines lost, want 1", log.Lost())
	}
	for name, want := range map[string]string{path: "third line\nfourth\n", path + ".1": "first line\nsecond\n"} {
		if text, err := os.ReadFile(name); err != nil || string(text) != want {
			t.Errorf("%s holds %q, want %q (%v)", name, text, want, err)
		}
	}
}

func TestLockHasOneHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "folder", "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = TryLock(path)
	if ems.CodeOf(err) != ems.CodeConflict || !strings.Contains(err.Error(), fmt.Sprintf("held by process %d", os.Getpid())) {
		t.Errorf("second holder: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	second, err := TryLock(path)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
}
