package managed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// machineStub is a machine on which nothing is really installed.
type machineStub struct {
	programs []string         // on PATH
	fail     map[string]error // by start of the command line
	provides string           // the package whose installation brings Redis
	commands []string
	present  bool
}

func (m *machineStub) run(_ context.Context, _ []string, name string, args ...string) error {
	line := strings.Join(append([]string{name}, args...), " ")
	m.commands = append(m.commands, line)
	for start, err := range m.fail {
		if strings.HasPrefix(line, start) {
			delete(m.fail, start)
			return err
		}
	}
	if strings.HasSuffix(line, " install --yes --no-install-recommends "+m.provides) {
		m.present = true
	}
	return nil
}

func (m *machineStub) installer(system string, user int) (*Installer, *syncBuffer) {
	out := &syncBuffer{}
	return &Installer{
		Clock: ems.SystemClock{}, Out: out, System: system, UserID: user, Run: m.run,
		LookPath: func(name string) (string, error) {
			if slices.Contains(m.programs, name) {
				return "/usr/bin/" + name, nil
			}
			return "", errors.New("not found")
		},
		Redis: func(context.Context) (RedisBinary, error) {
			if m.present {
				return RedisBinary{Path: "/usr/bin/redis-check-rdb", Version: "7.0.15"}, nil
			}
			return RedisBinary{}, ems.Errorf(ems.CodeNotFound, "none")
		},
	}, out
}

const (
	rootApt = "env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=60 "
	tools   = "install --yes --no-install-recommends redis-tools"
	server  = "install --yes --no-install-recommends redis-server"
)

func TestEnsureRedisInstalls(t *testing.T) {
	t.Parallel()
	refused := errors.New("exit status 100")
	for name, test := range map[string]struct {
		machine machineStub
		user    int
		want    []string
	}{
		"as root":               {machineStub{programs: []string{"apt-get"}, provides: "redis-tools"}, 0, []string{rootApt + tools}},
		"through sudo":          {machineStub{programs: []string{"apt-get", "sudo"}, provides: "redis-tools"}, 1000, []string{"sudo -n true", "sudo -n " + rootApt + tools}},
		"with an update":        {machineStub{programs: []string{"apt-get"}, provides: "redis-tools", fail: map[string]error{rootApt + tools: refused}}, 0, []string{rootApt + tools, rootApt + "update", rootApt + tools}},
		"from the next package": {machineStub{programs: []string{"apt-get"}, provides: "redis-server"}, 0, []string{rootApt + tools, rootApt + server}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installer, out := test.machine.installer("linux", test.user)
			found, err := installer.EnsureRedis(context.Background())
			if err != nil || found.Version != "7.0.15" {
				t.Errorf("found %+v: %v", found, err)
			}
			if !slices.Equal(test.machine.commands, test.want) {
				t.Errorf("ran  %q\nwant %q", test.machine.commands, test.want)
			}
			if !strings.Contains(out.String(), "redis-server 7.0.15 installed: /usr/bin/redis-check-rdb") {
				t.Errorf("said %q", out)
			}
		})
	}
}

func TestEnsureRedisSaysWhatToType(t *testing.T) {
	t.Parallel()
	refused := errors.New("sudo: a password is required")
	for name, test := range map[string]struct {
		machine machineStub
		system  string
		want    string
	}{
		"a password":    {machineStub{programs: []string{"apt-get", "sudo"}, fail: map[string]error{"sudo -n true": refused}}, "linux", "no redis-server on this machine, and installing one needs root, and sudo asks for a password: type sudo apt-get install redis-server"},
		"no sudo":       {machineStub{programs: []string{"apt-get"}}, "linux", "no redis-server on this machine, and installing one needs root: type sudo apt-get install redis-server"},
		"dnf":           {machineStub{programs: []string{"dnf"}}, "linux", "no redis-server on this machine, and this system has no apt-get: type sudo dnf install redis"},
		"macOS":         {machineStub{}, "darwin", "no redis-server on this machine, and this system has no apt-get: type brew install redis"},
		"anything else": {machineStub{}, "freebsd", "no redis-server on this machine, and this system has no apt-get: install Redis 7 or newer (https://redis.io/docs/latest/operate/oss_and_stack/install/)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installer, _ := test.machine.installer(test.system, 1000)
			_, err := installer.EnsureRedis(context.Background())
			if err == nil || err.Error() != test.want || ems.CodeOf(err) != ems.CodeNotFound {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
		})
	}
}

func TestEnsureRedisThatCannotInstall(t *testing.T) {
	t.Parallel()
	offline := errors.New("could not resolve the host")
	stub := machineStub{programs: []string{"apt-get"}, fail: map[string]error{rootApt + tools: offline, rootApt + "update": offline}}
	installer, _ := stub.installer("linux", 0)
	_, err := installer.EnsureRedis(context.Background())
	if !errors.Is(err, offline) || !strings.HasSuffix(err.Error(), "type sudo apt-get install redis-server") {
		t.Errorf("error %v", err)
	}
}

func TestEnsureRedisLeavesAnOldOneAlone(t *testing.T) {
	t.Parallel()
	stub := machineStub{programs: []string{"apt-get"}}
	installer, _ := stub.installer("linux", 0)
	installer.Redis = func(context.Context) (RedisBinary, error) {
		return RedisBinary{}, ems.Errorf(ems.CodeConflict, "Redis 6.0.16")
	}
	_, err := installer.EnsureRedis(context.Background())
	if ems.CodeOf(err) != ems.CodeConflict || len(stub.commands) > 0 {
		t.Errorf("error %v after %q", err, stub.commands)
	}
}

func TestRunProgramTellsTheLastLine(t *testing.T) {
	t.Parallel()
	err := runProgram(context.Background(), []string{"WORD=really"}, "sh", "-c", "echo first; echo $WORD last; exit 7")
	if err == nil || !strings.HasSuffix(err.Error(), ": exit status 7: really last") {
		t.Errorf("error %v", err)
	}
}

// builderStub writes a fake influxd where the real go would.
type builderStub struct {
	mu      sync.Mutex
	builds  int
	command string
	release chan struct{} // building waits for it, unless nil
	begun   chan struct{}
	err     error
}

func (b *builderStub) run(_ context.Context, environment []string, name string, args ...string) error {
	b.mu.Lock()
	b.builds++
	b.command = strings.Join(append([]string{name}, args...), " ")
	b.mu.Unlock()
	if b.release != nil {
		b.begun <- struct{}{}
		<-b.release
	}
	if b.err != nil {
		return b.err
	}
	folder := strings.TrimPrefix(environment[0], "GOBIN=")
	return os.WriteFile(filepath.Join(folder, "influxd"), []byte("#!/bin/sh\necho 'InfluxDB v1.8.10 (git: unknown unknown)'\n"), 0o755)
}

func (b *builderStub) installer(clock ems.Clock) (*Installer, *syncBuffer) {
	out := &syncBuffer{}
	return &Installer{
		Clock: clock, Out: out, Run: b.run,
		LookPath: func(name string) (string, error) { return "/go/bin/" + name, nil },
	}, out
}

func TestEnsureInfluxBuildsOnceAndAtomically(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin") // sh only: no influxd of the machine
	checkout := t.TempDir()
	left := filepath.Join(BinaryFolder(checkout), "influxd-build-1234")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	builder := &builderStub{release: make(chan struct{}), begun: make(chan struct{}, 2)}
	paths, failures := make(chan string, 2), make(chan error, 2)
	var outs []*syncBuffer
	for range 2 {
		installer, out := builder.installer(ems.SystemClock{})
		outs = append(outs, out)
		go func() {
			path, err := installer.EnsureInflux(context.Background(), checkout)
			paths <- path
			failures <- err
		}()
	}
	<-builder.begun
	await(t, "the second builder to wait", func() bool {
		return strings.Contains(outs[0].String()+outs[1].String(), "waiting for another process that builds InfluxDB")
	})
	if _, err := os.Stat(filepath.Join(BinaryFolder(checkout), "influxd")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program is there before it is built: %v", err)
	}
	close(builder.release)
	for range 2 {
		if path, err := <-paths, <-failures; path != filepath.Join(BinaryFolder(checkout), "influxd") || err != nil {
			t.Errorf("got %q: %v", path, err)
		}
	}
	if want := "/go/bin/go install -ldflags -s -w -X main.version=1.8.10 github.com/influxdata/influxdb/cmd/influxd@v1.8.10"; builder.builds != 1 || builder.command != want {
		t.Errorf("%d builds with %q", builder.builds, builder.command)
	}
	entries, err := os.ReadDir(BinaryFolder(checkout))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v (%v)", entries, err)
	}
}

func TestEnsureInfluxThatFails(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	checkout := t.TempDir()
	builder := &builderStub{err: errors.New("no network")}
	installer, _ := builder.installer(ems.SystemClock{})
	_, err := installer.EnsureInflux(context.Background(), checkout)
	if !errors.Is(err, builder.err) || !strings.HasPrefix(err.Error(), "InfluxDB cannot be built: ") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(BinaryFolder(checkout)); err != nil || len(entries) != 0 {
		t.Errorf("left in the folder: %v (%v)", entries, err)
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		terminal bool
		want     string
	}{
		{true, "building ...\rbuilding ... 1s\rbuilding ... 2s\rbuilding: done in 2s\n"},
		{false, "building ...\nbuilding ... 15s\nbuilding ... 30s\nbuilding: done in 30s\n"},
	} {
		clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
		installer, out := (&builderStub{}).installer(clock)
		installer.Terminal = test.terminal
		release, done := make(chan struct{}), make(chan error)
		go func() {
			done <- installer.showing(context.Background(), "building", func() error { <-release; return nil })
		}()
		for i := range 2 {
			clock.AwaitTimers(1)
			clock.Advance(map[bool]time.Duration{true: redrawPeriod, false: printPeriod}[test.terminal])
			await(t, "the next line", func() bool { return strings.Count(out.String(), "... ") == i+1 })
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if out.String() != test.want {
			t.Errorf("wrote %q, want %q", out, test.want)
		}
	}
}
