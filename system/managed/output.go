package managed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/voltageems/voltageems-go/system/ems"
)

// longestLine is how many bytes of one line of output are kept.
const longestLine = 4096

// lineSplitter cuts a stream of output into lines. It is written to by one
// goroutine.
type lineSplitter struct {
	line    func(string)
	partial []byte
	cut     bool // the rest of an overlong line is being dropped
}

func (s *lineSplitter) Write(data []byte) (int, error) {
	written := len(data)
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			s.take(data)
			return written, nil
		}
		s.take(data[:end])
		s.finish()
		s.cut = false
		data = data[end+1:]
	}
}

func (s *lineSplitter) take(data []byte) {
	if s.cut {
		return
	}
	if room := longestLine - len(s.partial); len(data) > room {
		s.partial = append(s.partial, data[:room]...)
		s.partial = append(s.partial, " [cut]"...)
		s.cut = true
		return
	}
	s.partial = append(s.partial, data...)
}

// finish hands over what has been gathered, if anything.
func (s *lineSplitter) finish() {
	if text := strings.TrimRight(string(s.partial), "\r \t"); text != "" {
		s.line(text)
	}
	s.partial = s.partial[:0]
}

// lastLines remembers the end of an output, for the message that tells of a
// failure.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

const rememberedLines = 3

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == rememberedLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, line)
}

func (l *lastLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, " | ")
}

// LogLines returns a receiver of output lines that writes them to a logger.
func LogLines(logger *slog.Logger, level slog.Level) func(string) {
	return func(line string) { logger.Log(context.Background(), level, line) }
}

// LogFile is a file of output lines whose size is bounded: once full it becomes
// path.1, in place of the one before, and a new one begins.
type LogFile struct {
	path    string
	largest int64 // bytes
	mu      sync.Mutex
	file    *os.File
	size    int64
	lost    int
}

// OpenLogFile opens or creates a log file, and its folder where there is none.
func OpenLogFile(path string, largestBytes int64) (*LogFile, error) {
	log := &LogFile{path: path, largest: largestBytes}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "log folder cannot be made: %w", err)
	}
	if err := log.open(); err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "log file cannot be opened: %w", err)
	}
	return log, nil
}

func (l *LogFile) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Line writes one line. A line that cannot be written is counted, because a
// full disk must not stop the child that wrote it.
func (l *LogFile) Line(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size > 0 && l.size+int64(len(line))+1 > l.largest {
		l.turn()
	}
	if l.file == nil {
		l.lost++
		return
	}
	n, err := l.file.WriteString(line + "\n")
	l.size += int64(n)
	if err != nil {
		l.lost++
	}
}

// turn starts a new file. It needs the lock.
func (l *LogFile) turn() {
	err := l.file.Close()
	l.file = nil
	if err == nil {
		err = os.Rename(l.path, l.path+".1")
	}
	if err == nil {
		err = l.open()
	}
	if err != nil {
		l.lost++
	}
}

// Lost returns how many lines could not be written.
func (l *LogFile) Lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close closes the file; lines that come later are counted as lost.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
