package modbus

import (
	"errors"
	"io"
	"os"

	"github.com/goburrow/serial"
	"golang.org/x/sys/unix"

	"github.com/voltageems/voltageems-go/system/config"
)

// serialPort is a serial line. The serial library sets it and puts it back to
// what it was; it is read and written as a file, which has deadlines, can be
// closed at any moment, and works with any number of open descriptors.
type serialPort struct {
	*os.File
	settings io.Closer
}

var parities = map[config.Parity]string{config.ParityNone: "N", config.ParityEven: "E", config.ParityOdd: "O"}

// openSerial opens a serial port, for this program alone.
func openSerial(path string, line config.Serial) (port, error) {
	settings, err := serial.Open(&serial.Config{
		Address: path, BaudRate: line.BaudRate, DataBits: 8, StopBits: line.StopBits, Parity: parities[line.Parity],
	})
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		_ = settings.Close()
		return nil, err
	}
	opened := &serialPort{File: file, settings: settings}
	if err := opened.claim(); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}

// claim locks the port, as other programs do that use serial ports, and makes a
// read wait for bytes: the serial library leaves it so that a read finds an end.
func (p *serialPort) claim() error {
	return p.control(func(descriptor int) error {
		if err := unix.Flock(descriptor, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			return errors.New("another program uses the serial port")
		} else if err != nil {
			return err
		}
		state, err := unix.IoctlGetTermios(descriptor, unix.TCGETS)
		if err != nil {
			return err
		}
		state.Cc[unix.VMIN], state.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(descriptor, unix.TCSETS, state)
	})
}

// idle drops what waits to be read.
func (p *serialPort) idle() error {
	return p.control(func(descriptor int) error {
		waiting, err := unix.IoctlGetInt(descriptor, unix.TIOCINQ)
		if err != nil {
			return err
		}
		if waiting == 0 {
			return nil
		}
		if err := unix.IoctlSetInt(descriptor, unix.TCFLSH, unix.TCIFLUSH); err != nil {
			return err
		}
		return errStray
	})
}

func (p *serialPort) control(act func(descriptor int) error) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var found error
	if err := raw.Control(func(descriptor uintptr) { found = act(int(descriptor)) }); err != nil {
		return err
	}
	return found
}

// Close drops what was not sent, which might else be waited for.
func (p *serialPort) Close() error {
	flushed := p.control(func(descriptor int) error { return unix.IoctlSetInt(descriptor, unix.TCFLSH, unix.TCIOFLUSH) })
	return errors.Join(flushed, p.File.Close(), p.settings.Close())
}
