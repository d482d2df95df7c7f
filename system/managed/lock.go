package managed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Lock is a file that at most one process holds. The system frees it when the
// holder ends, however it ends.
type Lock struct{ file *os.File }

// TryLock takes the lock on a file, which it creates with its folder. While
// another holds it the error has the code Conflict and names the holder.
func TryLock(path string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "folder of the lock file cannot be made: %w", err)
	}
	for {
		lock, err := tryOnce(path)
		if err != nil || lock != nil {
			return lock, err
		}
	}
}

// tryOnce returns neither lock nor error when the holder removed the file in
// between.
func tryOnce(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "lock file cannot be opened: %w", err)
	}
	lock := &Lock{file}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		closed := file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ems.Errorf(ems.CodeConflict, "%s is held by process %s", path, strings.TrimSpace(string(holder)))
		}
		return nil, ems.Errorf(ems.CodeUnavailable, "%s cannot be locked: %w", path, errors.Join(err, closed))
	}
	if !lock.inPlace(path) {
		return nil, file.Close()
	}
	if err := errors.Join(file.Truncate(0), writeAt(file, fmt.Sprintln(os.Getpid()))); err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "%s cannot be written: %w", path, errors.Join(err, file.Close()))
	}
	return lock, nil
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

func (l *Lock) inPlace(path string) bool {
	held, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}

// Release removes the file and frees the lock.
func (l *Lock) Release() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}
