package testkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/voltageems/voltageems-go/system/managed"
)

// Build compiles a program of this module and returns its path.
func Build(t testing.TB, importPath string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(importPath))
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, importPath).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", importPath, err, output)
	}
	return path
}

// Program is a server in a process of its own. It ends with the test.
type Program struct {
	Addr string // host:port

	test   testing.TB
	server *server

	mu    sync.Mutex
	lines []string
}

// StartProgram starts a program that listens on a free port, which its last
// argument names, and returns when it does listen.
func StartProgram(t testing.TB, path string, arguments ...string) *Program {
	t.Helper()
	p := &Program{Addr: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), test: t}
	name := filepath.Base(path)
	log := managed.LogLines(Logger(t).With("program", name), slog.LevelDebug)
	command := managed.Command{Name: name, Path: path, Args: append(arguments, p.Addr), Line: func(line string) {
		log(line)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lines = append(p.lines, line)
	}}
	p.server = &server{child: managed.Child{
		Name:  name,
		Start: func(context.Context) (*managed.Process, error) { return managed.StartProcess(command) },
		Probe: func(ctx context.Context, _ int) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
	}}
	t.Cleanup(p.server.kill)
	p.Start()
	return p
}

// Start starts the program again after Kill, at the same address.
func (p *Program) Start() {
	p.test.Helper()
	startAgain(p.test, p.server, p.server.child.Name)
}

// Kill ends the program at once, as a crash does.
func (p *Program) Kill() { p.server.kill() }

// Freeze stops the program where it is, so that it keeps its connections and
// answers nothing.
func (p *Program) Freeze() {
	p.test.Helper()
	p.signal(syscall.SIGSTOP)
	Eventually(p.test, readyWithin, p.checkFrozen, p.server.child.Name+" stands still")
}

// checkFrozen looks at every thread, where the system shows them: a signal takes a
// moment to reach those that run.
func (p *Program) checkFrozen() error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.server.process.PID()))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "T") {
			return fmt.Errorf("a thread still runs: %s", text)
		}
	}
	return nil
}

// Thaw lets a frozen program go on.
func (p *Program) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Program) signal(signal syscall.Signal) {
	p.test.Helper()
	if err := syscall.Kill(p.server.process.PID(), signal); err != nil {
		p.test.Fatalf("%s: %v", p.server.child.Name, err)
	}
}

// Printed returns the lines of output so far that hold a text.
func (p *Program) Printed(text string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, line := range p.lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}
