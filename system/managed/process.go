// Package managed runs real servers (Redis, InfluxDB) and the programs of the
// system as supervised child processes of this one. It exists on Unix systems;
// the promise that no child survives its parent holds on Linux.
package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Command describes a child process before it is started.
type Command struct {
	Name  string   // in messages
	Path  string   // of the program
	Args  []string // without the program's own name
	Argv0 string   // the name that the program is told to have; Path if empty
	Env   []string // the whole environment, NAME=value; nil is that of this process
	Dir   string   // working directory; that of this process if empty
	// Line receives every line of output, without its end, one at a time.
	Line func(line string)
	// DeathSignal is what the child receives when this process ends without
	// having stopped it (Linux): SIGKILL if zero.
	DeathSignal syscall.Signal
}

// Process is a child process that was started. It leads a process group of its
// own, so that the interrupt key of a terminal reaches this process alone.
type Process struct {
	command Command
	pid     int
	exited  chan struct{}
	err     error // valid once exited is closed
	last    lastLines

	mu   sync.Mutex
	gone bool // the process id must not be signalled any more
}

// outputGrace bounds the wait for the output of a child that has ended, which a
// process of its own making may hold open.
const outputGrace = 2 * time.Second

// StartProcess starts a child process.
func StartProcess(command Command) (*Process, error) {
	p := &Process{command: command, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "%s cannot be started: %w", command.Name, err)
	}
	return p, nil
}

// run starts the child, waits for its end and cleans up behind it. The signal
// that a child gets at its parent's death is tied to the thread that forked, so
// this goroutine keeps its thread for as long as the child lives.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output := &lineSplitter{line: p.takeLine}
	cmd := exec.Command(p.command.Path, p.command.Args...)
	if p.command.Argv0 != "" {
		cmd.Args[0] = p.command.Argv0
	}
	cmd.Env, cmd.Dir = p.command.Env, p.command.Dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = childAttributes(p.command.DeathSignal)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil

	if awaitExit(p.pid) {
		p.setGone()
		killGroup(p.pid)
	}
	err := cmd.Wait()
	p.setGone()
	output.finish()
	p.err = p.describe(err)
	close(p.exited)
}

func (p *Process) setGone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

func (p *Process) takeLine(line string) {
	p.last.add(line)
	if p.command.Line != nil {
		p.command.Line(line)
	}
}

func (p *Process) describe(err error) error {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	var exit *exec.ExitError
	byItself := errors.As(err, &exit) && exit.Exited()
	if said := p.last.text(); byItself && said != "" {
		return ems.Errorf(ems.CodeUnavailable, "%s ended with %w: %s", p.command.Name, err, said)
	}
	return ems.Errorf(ems.CodeUnavailable, "%s ended with %w", p.command.Name, err)
}

// PID returns the process id.
func (p *Process) PID() int { return p.pid }

// Exited is closed when the process has ended and all its output was taken.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the process ended: nil for status 0 and before its end. The text
// holds the last lines that it wrote, unless a signal ended it.
func (p *Process) Err() error {
	select {
	case <-p.exited:
		return p.err
	default:
		return nil
	}
}

// Stop asks the process to end, and kills it and its group when ctx ends first.
// It returns when the process is gone: nil if it went by itself.
func (p *Process) Stop(ctx context.Context) error {
	p.signal(p.pid, syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-p.exited:
		return nil
	default:
	}
	p.Kill()
	return ems.Errorf(ems.CodeUnavailable, "%s (process %d) did not stop when asked and was killed", p.command.Name, p.pid)
}

// Kill ends the process and its group without asking, and waits until it is
// gone.
func (p *Process) Kill() {
	p.signal(-p.pid, syscall.SIGKILL)
	<-p.exited
}

func (p *Process) signal(pid int, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		// The only failure is that the process has just ended.
		_ = syscall.Kill(pid, signal)
	}
}

// programBeside returns the path of a program in one of the folders, "" if none
// holds it.
func programBeside(name string, folders ...string) string {
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// localAddress returns the loopback address with that port.
func localAddress(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
