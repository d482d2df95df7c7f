package managed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The InfluxDB that is built where there is none: the last of the line that is
// one Go module.
const (
	influxVersion = "1.8.10"
	influxModule  = "github.com/influxdata/influxdb/cmd/influxd"
	influxLine    = "1.8."
)

// modulePath is how the checkout is recognized.
const modulePath = "github.com/voltageems/voltageems-go"

// FindCheckout returns the root of the checkout that holds a folder.
func FindCheckout(from string) (string, error) {
	folder, err := filepath.Abs(from)
	if err != nil {
		return "", ems.Errorf(ems.CodeInvalid, "folder %q: %w", from, err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+modulePath+"\n") {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", ems.Errorf(ems.CodeNotFound, "%s is not inside a checkout of %s", from, modulePath)
		}
		folder = parent
	}
}

// BinaryFolder returns where a checkout keeps the programs it builds.
func BinaryFolder(checkout string) string { return filepath.Join(checkout, ".bin") }

// FindInflux returns the path of an influxd of the 1.8 line: in one of the
// folders, or on PATH. The code of its error is NotFound when there is none.
func FindInflux(ctx context.Context, folders ...string) (string, error) {
	path := programBeside("influxd", folders...)
	if path == "" {
		path, _ = exec.LookPath("influxd")
	}
	if path == "" {
		return "", ems.Errorf(ems.CodeNotFound, "no influxd %sx: run make setup, which builds it", influxLine)
	}
	output, err := exec.CommandContext(ctx, path, "version").CombinedOutput()
	if err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "%s version failed: %w", path, err)
	}
	if version := firstLine(string(output)); !strings.HasPrefix(version, "InfluxDB v"+influxLine) {
		return "", ems.Errorf(ems.CodeNotFound, "%s is %q, not version %sx: run make setup, which builds that", path, version, influxLine)
	}
	return path, nil
}

// lockPeriod is how often a builder looks whether another has finished.
const lockPeriod = 200 * time.Millisecond

// EnsureInflux finds influxd in the checkout or on PATH, and builds it into the
// checkout where there is none. Of several builders at once one builds and the
// others wait for it.
func (i *Installer) EnsureInflux(ctx context.Context, checkout string) (string, error) {
	folder := BinaryFolder(checkout)
	path, err := FindInflux(ctx, folder)
	if err == nil || ems.CodeOf(err) != ems.CodeNotFound {
		return path, err
	}
	lock, err := i.awaitLock(ctx, filepath.Join(folder, "influxd.lock"))
	if err != nil {
		return "", err
	}
	path, err = FindInflux(ctx, folder)
	if err != nil && ems.CodeOf(err) == ems.CodeNotFound {
		path, err = i.buildInflux(ctx, folder)
	}
	return path, errors.Join(err, lock.Release())
}

func (i *Installer) awaitLock(ctx context.Context, path string) (*Lock, error) {
	timer := i.Clock.NewTimer(lockPeriod)
	defer timer.Stop()
	for told := false; ; told = true {
		lock, err := TryLock(path)
		if err == nil || ems.CodeOf(err) != ems.CodeConflict {
			return lock, err
		}
		if !told {
			i.say("waiting for another process that builds InfluxDB")
		}
		select {
		case <-timer.C():
			timer.Reset(lockPeriod)
		case <-ctx.Done():
			return nil, ems.Errorf(ems.CodeUnavailable, "waiting for %s: %w", path, ctx.Err())
		}
	}
}

// buildInflux builds into a folder of its own and moves the result into place,
// so that nobody ever sees half a program.
func (i *Installer) buildInflux(ctx context.Context, folder string) (string, error) {
	compiler, err := i.LookPath("go")
	if err != nil {
		return "", ems.Errorf(ems.CodeNotFound, "no go on PATH to build InfluxDB with: %w", err)
	}
	if err := removeAll(filepath.Join(folder, buildFolders+"*")); err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "what a broken build left behind cannot be removed: %w", err)
	}
	building, err := os.MkdirTemp(folder, buildFolders)
	if err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "folder to build InfluxDB in: %w", err)
	}
	defer os.RemoveAll(building)
	err = i.showing(ctx, "building InfluxDB "+influxVersion+" (once, about a minute)", func() error {
		return i.Run(ctx, []string{"GOBIN=" + building}, compiler, "install",
			"-ldflags", "-s -w -X main.version="+influxVersion, influxModule+"@v"+influxVersion)
	})
	if err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "InfluxDB cannot be built: %w", err)
	}
	path := filepath.Join(folder, "influxd")
	if err := os.Rename(filepath.Join(building, "influxd"), path); err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "InfluxDB was built but cannot be moved into place: %w", err)
	}
	return path, nil
}

// buildFolders begins the names of the folders that are built in.
const buildFolders = "influxd-build-"

func removeAll(pattern string) error {
	paths, err := filepath.Glob(pattern)
	for _, path := range paths {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// Pace of the progress line.
const (
	redrawPeriod = time.Second
	printPeriod  = 15 * time.Second
)

// showing runs a task and shows meanwhile for how long it has been running.
func (i *Installer) showing(ctx context.Context, text string, task func() error) error {
	begun := i.Clock.Now()
	elapsed := func() time.Duration { return i.Clock.Now().Sub(begun).Round(time.Second) }
	period, end := printPeriod, "\n"
	if i.Terminal {
		period, end = redrawPeriod, "\r"
	}
	_, _ = fmt.Fprintf(i.Out, "%s ...%s", text, end)
	result := make(chan error, 1)
	go func() { result <- task() }()
	timer := i.Clock.NewTimer(period)
	defer timer.Stop()
	for {
		select {
		case err := <-result:
			if err == nil {
				i.say("%s: done in %v", text, elapsed())
			} else if ctx.Err() != nil {
				i.say("%s: broken off", text)
			}
			return err
		case <-timer.C():
			_, _ = fmt.Fprintf(i.Out, "%s ... %v%s", text, elapsed(), end)
			timer.Reset(period)
		}
	}
}
