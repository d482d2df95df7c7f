package managed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Installer puts the servers on this machine that the system needs. It writes
// to the system's packages and to the checkout, nowhere else.
type Installer struct {
	Clock    ems.Clock
	Out      io.Writer // what a person reads meanwhile
	Terminal bool      // Out redraws a line that ends in \r
	System   string    // runtime.GOOS
	UserID   int       // of this process; 0 may install packages
	// Run runs a program to its end; its error holds what the program said.
	Run      func(ctx context.Context, environment []string, name string, args ...string) error
	LookPath func(name string) (string, error)
	Redis    func(ctx context.Context) (RedisBinary, error)
}

// NewInstaller returns an installer for this machine.
func NewInstaller(clock ems.Clock, out io.Writer, terminal bool) *Installer {
	return &Installer{
		Clock: clock, Out: out, Terminal: terminal, System: runtime.GOOS, UserID: os.Getuid(),
		Run: runProgram, LookPath: exec.LookPath, Redis: FindRedis,
	}
}

func runProgram(ctx context.Context, environment []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), environment...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{name}, args...), " "), err, lastLine(output.String()))
	}
	return nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// say writes one line for the person; a person who cannot be reached does not
// stop an installation.
func (i *Installer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(i.Out, format+"\n", args...)
}

// EnsureRedis finds a Redis server of version 7 or newer, and installs one with
// the system's package manager where this process may.
func (i *Installer) EnsureRedis(ctx context.Context) (RedisBinary, error) {
	found, err := i.Redis(ctx)
	if err == nil || ems.CodeOf(err) != ems.CodeNotFound {
		return found, err
	}
	prefix, reason := i.aptPrefix(ctx)
	if reason != "" {
		return RedisBinary{}, ems.Errorf(ems.CodeNotFound, "no redis-server on this machine, and %s: %s", reason, i.byHand())
	}
	found, err = i.installRedis(ctx, prefix)
	if err != nil {
		return RedisBinary{}, err
	}
	i.say("redis-server %s installed: %s", found.Version, found.Path)
	if connection, err := net.DialTimeout("tcp", localAddress(6379), time.Second); err == nil {
		_ = connection.Close() // it was opened only to see whether that works
		i.say("note: a Redis answers on port 6379 now, probably the system's own service; sudo systemctl disable --now redis-server stops it, else another port is used")
	}
	return found, nil
}

// redisPackages are tried in turn. Debian's redis-tools holds the server and no
// system service that would occupy the port; see FindRedis.
var redisPackages = [...]string{"redis-tools", "redis-server"}

// aptGet waits a while for another package manager that is at work.
var aptGet = []string{"apt-get", "-o", "DPkg::Lock::Timeout=60"}

func (i *Installer) installRedis(ctx context.Context, prefix []string) (RedisBinary, error) {
	var last error
	packages := aptPackages{installer: i, prefix: prefix}
	for _, name := range redisPackages {
		if err := packages.install(ctx, name); err != nil {
			return RedisBinary{}, ems.Errorf(ems.CodeUnavailable, "%w; %s", err, i.byHand())
		}
		found, err := i.Redis(ctx)
		if err == nil || ems.CodeOf(err) != ems.CodeNotFound {
			return found, err
		}
		last = err
	}
	return RedisBinary{}, last
}

// aptPackages installs packages, and fetches the list of them once where one fails.
type aptPackages struct {
	installer *Installer
	prefix    []string
	updated   bool
}

func (a *aptPackages) install(ctx context.Context, name string) error {
	i := a.installer
	i.say("installing the package %s with apt-get", name)
	install := slices.Concat(a.prefix, aptGet, []string{"install", "--yes", "--no-install-recommends", name})
	err := i.Run(ctx, nil, install[0], install[1:]...)
	if err != nil && !a.updated {
		a.updated = true
		update := slices.Concat(a.prefix, aptGet, []string{"update"})
		if err := i.Run(ctx, nil, update[0], update[1:]...); err != nil {
			return fmt.Errorf("the list of packages cannot be fetched: %w", err)
		}
		err = i.Run(ctx, nil, install[0], install[1:]...)
	}
	if err != nil {
		return fmt.Errorf("the package %s cannot be installed: %w", name, err)
	}
	return nil
}

// aptPrefix returns the words in front of apt-get, or why it cannot be used.
// RUNLEVEL=1 keeps a System V init from starting what was installed.
func (i *Installer) aptPrefix(ctx context.Context) (prefix []string, reason string) {
	if i.System != "linux" {
		return nil, "this system has no apt-get"
	}
	if _, err := i.LookPath("apt-get"); err != nil {
		return nil, "this system has no apt-get"
	}
	words := []string{"env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive"}
	if i.UserID == 0 {
		return words, ""
	}
	if _, err := i.LookPath("sudo"); err != nil {
		return nil, "installing one needs root"
	}
	if err := i.Run(ctx, nil, "sudo", "-n", "true"); err != nil {
		return nil, "installing one needs root, and sudo asks for a password"
	}
	return append([]string{"sudo", "-n"}, words...), ""
}

// byHand tells what to type.
func (i *Installer) byHand() string {
	if i.System == "darwin" {
		return "type brew install redis"
	}
	for _, way := range []struct{ manager, command string }{
		{"apt-get", "sudo apt-get install redis-server"},
		{"dnf", "sudo dnf install redis"},
		{"brew", "brew install redis"},
	} {
		if _, err := i.LookPath(way.manager); err == nil {
			return "type " + way.command
		}
	}
	return fmt.Sprintf("install Redis %d or newer (https://redis.io/docs/latest/operate/oss_and_stack/install/)", leastRedis)
}
