package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// This test binary is voltlab when it is called as "voltlab up", and plays the
// plant and the program voltage when the supervisor calls it.
func TestMain(m *testing.M) {
	command := strings.Join(os.Args[1:min(len(os.Args), 3)], " ")
	switch {
	case strings.HasPrefix(command, "up"), strings.HasPrefix(command, "setup"):
		main()
	case strings.HasPrefix(command, "check"), command == "functions load":
	case command == "serve --site":
		playServices(os.Args[3])
	case strings.HasPrefix(command, "serve "):
		playPlant(os.Args[2], os.Args[3:])
	default:
		os.Exit(m.Run())
	}
}

func serveFake(address string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /api/channels", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"success":true,"data":[{"id":1001,"name":"pv","online":true}]}`)
	})
	mux.HandleFunc("GET /api/alarms", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"success":true,"data":[{},{}]}`)
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = http.Serve(listener, mux) }()
}

func untilAsked() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	<-asked
}

func playServices(site string) {
	for _, target := range ems.Targets {
		serveFake(os.Getenv(strings.ToUpper(string(target)) + "_LISTEN"))
	}
	if _, err := os.Stat(filepath.Join(site, "stubborn")); err == nil {
		signal.Ignore(syscall.SIGTERM)
		select {}
	}
	untilAsked()
}

func playPlant(dir string, arguments []string) {
	if _, err := os.Stat(filepath.Join(dir, "broken")); err == nil {
		fmt.Println("plant.yaml:7: no such device")
		os.Exit(1)
	}
	for i, argument := range arguments {
		if argument == "--control" {
			serveFake(arguments[i+1])
		}
	}
	untilAsked()
}

// lab is a folder with a plant, and "voltlab up" running on it.
type lab struct {
	root    string // of plant and data: stands in the command line of every child
	process *exec.Cmd
	lines   chan string // of standard error
	seen    []string
}

func newLab(t *testing.T, control string, files ...string) *lab {
	t.Helper()
	l := &lab{root: t.TempDir(), lines: make(chan string, 1000)}
	plant := filepath.Join(l.root, "plant")
	if err := os.Mkdir(plant, 0o755); err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{
		"plant.yaml":    "control: " + control + "\ndevices:\n  - {id: pv, listen: \"127.0.0.1:5021\"}\n",
		"channels.yaml": "channels:\n  - {id: 1001, address: \"127.0.0.1:5021\"}\n",
	}
	for _, name := range files {
		contents[name] = ""
	}
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(plant, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *lab) up(t *testing.T, arguments ...string) {
	t.Helper()
	arguments = append([]string{"up", filepath.Join(l.root, "plant"), "--data", filepath.Join(l.root, "data"), "--voltage", os.Args[0]}, arguments...)
	l.process = exec.Command(os.Args[0], arguments...)
	output, err := l.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.process.Process.Kill() })
	go func() {
		defer close(l.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			l.lines <- scanner.Text()
		}
	}()
}

// await returns the first line that holds the text.
func (l *lab) await(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line, open := <-l.lines:
			if !open {
				t.Fatalf("ended without %q:\n%s", text, strings.Join(l.seen, "\n"))
			}
			l.seen = append(l.seen, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			t.Fatalf("no %q:\n%s", text, strings.Join(l.seen, "\n"))
		}
	}
}

// end waits for the end and returns the exit status.
func (l *lab) end(t *testing.T) int {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case line, open := <-l.lines:
			if open {
				l.seen = append(l.seen, line)
				continue
			}
			_ = l.process.Wait() // its status is what counts
			return l.process.ProcessState.ExitCode()
		case <-deadline:
			t.Fatalf("no end:\n%s", strings.Join(l.seen, "\n"))
		}
	}
}

func (l *lab) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := l.process.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// children returns the processes that have the folder in their command line or
// work in it, but for voltlab itself.
func (l *lab) children(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		folder, _ := os.Readlink(filepath.Join(filepath.Dir(path), "cwd"))
		pid := filepath.Base(filepath.Dir(path))
		if err == nil && strings.Contains(string(text)+folder, l.root) && pid != strconv.Itoa(l.process.Process.Pid) {
			found = append(found, pid+" "+strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}

// awaitNoChildren waits, because what was sent a signal may take a moment.
func (l *lab) awaitNoChildren(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func() error {
		if left := l.children(t); len(left) > 0 {
			return fmt.Errorf("%q", left)
		}
		return nil
	}, "no orphan")
}

func TestUpAndDown(t *testing.T) {
	t.Parallel()
	l := newLab(t, "127.0.0.1:5020")
	l.up(t, "--free-ports")
	l.await(t, "all healthy in ")
	l.await(t, "msg=look browser=http://127.0.0.1:")
	if line := l.await(t, "msg=standing"); !strings.Contains(line, `services="all 7 healthy" channels="1 of 1 online" points=measuring alarms="2 active"`) {
		t.Errorf("standing: %s", line)
	}
	if count := len(l.children(t)); count != 4 {
		t.Errorf("%d children: %q", count, l.children(t))
	}
	l.signal(t, syscall.SIGTERM)
	if status := l.end(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := l.children(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	var stopped []string
	for _, line := range l.seen {
		if _, child, found := strings.Cut(line, "msg=stopped child="); found {
			stopped = append(stopped, child)
		}
	}
	if want := []string{"voltage", "plant", "influxdb", "redis"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped in the order %q, want %q", stopped, want)
	}
}

func TestUpThatIsKilledLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	l := newLab(t, "127.0.0.1:5020")
	l.up(t, "--free-ports")
	l.await(t, "all healthy in ")
	l.signal(t, syscall.SIGKILL)
	l.awaitNoChildren(t)
}

func TestSecondSignalStopsByForce(t *testing.T) {
	t.Parallel()
	l := newLab(t, "127.0.0.1:5020", "stubborn")
	l.up(t, "--free-ports")
	l.await(t, "all healthy in ")
	l.signal(t, os.Interrupt)
	l.await(t, "stopping everything; a second Ctrl-C does it by force")
	l.signal(t, os.Interrupt)
	if status := l.end(t); status != statusKilled {
		t.Errorf("exit status %d", status)
	}
	l.awaitNoChildren(t)
	if last := l.seen[len(l.seen)-1]; last != "voltlab: stopped by force" {
		t.Errorf("last line %q", last)
	}
}

func TestUpWithAPortInUse(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l := newLab(t, listener.Addr().String())
	l.up(t)
	if status := l.end(t); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	last := l.seen[len(l.seen)-1]
	if !strings.HasPrefix(last, "voltlab: in use already: ") || !strings.Contains(last, listener.Addr().String()+" (control API of the plant)") || !strings.HasSuffix(last, " --free-ports") {
		t.Errorf("last line %q", last)
	}
	if left := l.children(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestUpWithAPlantThatDoesNotStart(t *testing.T) {
	t.Parallel()
	l := newLab(t, "127.0.0.1:5020", "broken")
	l.up(t, "--free-ports")
	if status := l.end(t); status != statusFailed {
		t.Errorf("exit status %d", status)
	}
	want := "voltlab: plant ended with exit status 1: plant.yaml:7: no such device; logs are in " + filepath.Join(l.root, "data", "logs")
	if last := l.seen[len(l.seen)-1]; last != want {
		t.Errorf("last line %q, want %q", last, want)
	}
	l.awaitNoChildren(t)
}

func TestUpThatLacksSomething(t *testing.T) {
	t.Parallel()
	l := newLab(t, "127.0.0.1:5020")
	plant := filepath.Join(l.root, "plant")
	for want, options := range map[string]upOptions{
		"no plant \"nowhere\": name a folder that holds plant.yaml": {},
		"no program voltage: stat ":                                 {voltage: filepath.Join(l.root, "missing")},
	} {
		name := plant
		if options.voltage == "" {
			name = "nowhere"
		}
		err := options.run(context.Background(), name)
		if ems.CodeOf(err) != ems.CodeNotFound || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
