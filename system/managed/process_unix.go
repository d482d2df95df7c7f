//go:build unix && !linux

package managed

import "syscall"

func childAttributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitExit reports that it did not wait: to wait without reaping is not
// portable.
func awaitExit(int) bool { return false }

func killGroup(int) {}
