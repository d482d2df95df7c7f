package modbusserver

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/voltageems/voltageems-go/system/ems"
)

// OpenLine makes a serial line. A link, if it is not "", is a path under which
// clients find it: it is made anew, also over one that a line left behind. UNAVAILABLE
// says that there is no pseudo-terminal or that the link cannot be made.
func OpenLine(link string) (*Line, error) {
	far, near, err := openPair()
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "no pseudo-terminal for a serial line: %w", err)
	}
	line := &Line{far: far, near: near, taken: make(chan struct{}, 1), closed: make(chan struct{})}
	line.taken <- struct{}{}
	if link == "" {
		return line, nil
	}
	if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, terminals) {
		_ = os.Remove(link) // if it is still there the next step tells
	}
	if err := os.Symlink(near.Name(), link); err != nil {
		return nil, errors.Join(ems.Errorf(ems.CodeUnavailable, "a serial line cannot be linked: %w; name a path that is free", err), line.Close())
	}
	line.link = link
	return line, nil
}

// terminals is where Linux has the near ends.
const terminals = "/dev/pts/"

// openPair returns the two ends of a pseudo-terminal. The far one has deadlines and
// can be closed at any moment; what is sent to the near one is not echoed.
func openPair() (far, near *os.File, err error) {
	far, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = far.Close() // what failed is told
		}
	}()
	number := 0
	err = control(far, func(descriptor int) (err error) {
		if err = unix.IoctlSetPointerInt(descriptor, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(descriptor, unix.TIOCGPTN)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	near, err = os.OpenFile(fmt.Sprintf("%s%d", terminals, number), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if err = control(near, makeRaw); err != nil {
		_ = near.Close() // what failed is told
		return nil, nil, err
	}
	return far, near, nil
}

// makeRaw lets every byte pass as it is.
func makeRaw(descriptor int) error {
	settings, err := unix.IoctlGetTermios(descriptor, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Iflag, settings.Oflag, settings.Lflag = 0, 0, 0
	settings.Cflag = settings.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	return unix.IoctlSetTermios(descriptor, unix.TCSETS, settings)
}

// control calls a function with the descriptor of a file, which leaves the file as
// it is.
func control(file *os.File, call func(descriptor int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(descriptor uintptr) { err = call(int(descriptor)) })
	return errors.Join(failed, err)
}
