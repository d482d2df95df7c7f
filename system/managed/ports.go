package managed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Reserved ports lie below the range from which the kernel takes the ports of
// outgoing connections, so that a server can take its time to start, and be
// stopped and started again, without losing its port.
const (
	firstReserved = 20000
	lastReserved  = 29999
	attempts      = 1000
)

// ReservePort returns a free TCP port of the loopback address, which no other
// caller of any process gets until it is released. The UDP port of that number,
// which is of no other use here, is held meanwhile: the system gives it to one
// process at a time, frees it however that one ends, and nothing is left on disk.
func ReservePort() (port int, release func() error, err error) {
	for range attempts {
		port := firstReserved + rand.IntN(lastReserved-firstReserved+1)
		lock, err := net.ListenPacket("udp4", localAddress(port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, nil, ems.Errorf(ems.CodeUnavailable, "port %d cannot be reserved: %w", port, err)
		}
		if CheckFree([]Endpoint{{Address: localAddress(port)}}) == nil {
			return port, lock.Close, nil
		}
		if err := lock.Close(); err != nil {
			return 0, nil, ems.Errorf(ems.CodeUnavailable, "port %d: %w", port, err)
		}
	}
	return 0, nil, ems.Errorf(ems.CodeUnavailable, "no free port from %d to %d", firstReserved, lastReserved)
}

// Endpoint is an address on which something is going to listen.
type Endpoint struct {
	Name    string // of what will listen
	Address string // host:port
}

// ErrInUse is in the error of CheckFree when another listens on an address.
var ErrInUse = errors.New("in use already")

// CheckFree returns an error that names every endpoint on which nothing can
// listen now, nil if there is none.
func CheckFree(endpoints []Endpoint) error {
	var taken, refused []string
	for _, endpoint := range endpoints {
		listener, err := net.Listen("tcp", endpoint.Address)
		switch {
		case err == nil:
			// Nothing was accepted, so closing has nothing to report.
			_ = listener.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			taken = append(taken, fmt.Sprintf("%s (%s)", endpoint.Address, endpoint.Name))
		default:
			refused = append(refused, fmt.Sprintf("%s: %v", endpoint.Name, err))
		}
	}
	cannot := "no listening possible: " + strings.Join(refused, ", ")
	switch {
	case len(taken) > 0:
		text := strings.Join(taken, ", ") + "; stop what listens there (ss -ltnp shows it) and try again"
		if len(refused) > 0 {
			text += "; " + cannot
		}
		return ems.Errorf(ems.CodeConflict, "%w: %s", ErrInUse, text)
	case len(refused) > 0:
		return ems.Errorf(ems.CodeConflict, "%s", cannot)
	default:
		return nil
	}
}
