//go:build unix

package features

import (
	"os"
	"syscall"
)

// alive reports whether a process still runs.
func alive(process *os.Process) bool { return process.Signal(syscall.Signal(0)) == nil }
