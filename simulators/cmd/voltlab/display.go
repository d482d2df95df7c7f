package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// The pace of the summary.
const (
	redrawPeriod = time.Second
	reportPeriod = 30 * time.Second
)

// display shows what happens: on a terminal log lines and below them a summary
// that is redrawn in place, elsewhere log lines alone.
type display struct {
	terminal bool
	width    func() int // of the terminal, in characters
	logger   *slog.Logger

	mu      sync.Mutex
	out     io.Writer
	summary []string // as drawn now, nil if none is
}

// newDisplay uses the terminal if standard output is one, else standard error.
func newDisplay(stdout, stderr *os.File) *display {
	d := &display{out: stderr}
	if term.IsTerminal(int(stdout.Fd())) {
		d.out, d.terminal = stdout, true
		d.width = func() int {
			width, _, err := term.GetSize(int(stdout.Fd()))
			if err != nil || width <= 0 {
				return 80
			}
			return width
		}
	}
	d.logger = slog.New(d.handler())
	return d
}

// handler returns a handler of log lines. On a terminal the time is short.
func (d *display) handler() slog.Handler {
	options := &slog.HandlerOptions{}
	if d.terminal {
		options.ReplaceAttr = func(_ []string, attr slog.Attr) slog.Attr {
			if attr.Key == slog.TimeKey && attr.Value.Kind() == slog.KindTime {
				attr.Value = slog.StringValue(attr.Value.Time().Format(time.TimeOnly))
			}
			return attr
		}
	}
	return slog.NewTextHandler(d, options)
}

// Write writes log lines above the summary.
func (d *display) Write(lines []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.summary == nil {
		return d.out.Write(lines)
	}
	if _, err := io.WriteString(d.out, d.erasing()+string(lines)+drawing(d.summary)); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// period returns how often to show.
func (d *display) period() time.Duration {
	if d.terminal {
		return redrawPeriod
	}
	return reportPeriod
}

// show shows the present standing.
func (d *display) show(plant string, seen standing, places []place) {
	if !d.terminal {
		d.logger.Info("standing", seen.attributes()...)
		return
	}
	width := d.width()
	lines := []string{"", fmt.Sprintf("VoltageEMS %s · up %v · Ctrl-C stops everything", plant, seen.uptime.Round(time.Second))}
	for _, row := range seen.rows() {
		lines = append(lines, fmt.Sprintf("  %-9s %s", row[0], row[1]))
	}
	for _, place := range places {
		lines = append(lines, fmt.Sprintf("  %-9s %s", place.name, place.what))
	}
	for i, line := range lines {
		lines[i] = cut(line, width-1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	erase := d.erasing()
	d.summary = lines
	// A terminal that is gone ends the program by a signal, not from here.
	_, _ = io.WriteString(d.out, erase+drawing(lines))
}

// places tells where to look where no summary will.
func (d *display) places(places []place) {
	if d.terminal {
		return
	}
	for _, place := range places {
		d.logger.Info("look", place.name, place.what)
	}
}

// close leaves the last summary where it stands; log lines follow below it.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.summary = nil
}

// erasing returns what moves the cursor to the first line of the summary and
// clears from there. It needs the lock.
func (d *display) erasing() string {
	if len(d.summary) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(d.summary))
}

func drawing(lines []string) string { return strings.Join(lines, "\n") + "\n" }

func cut(line string, width int) string {
	if runes := []rune(line); width > 0 && len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}
