package managed

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func childAttributes(deathSignal syscall.Signal) *syscall.SysProcAttr {
	if deathSignal == 0 {
		deathSignal = syscall.SIGKILL
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: deathSignal}
}

// awaitExit returns when the child has ended, and leaves it unreaped: until it
// is reaped its number cannot be given to another process, so its group can
// still be signalled safely. It reports whether that could be had.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// killGroup ends what the child left behind in its process group.
func killGroup(pid int) {
	// An empty group is the normal case and the only error.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}
