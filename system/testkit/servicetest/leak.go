package servicetest

import "go.uber.org/goleak"

// DriverDials lets one goroutine of the Redis driver be: after many failed dials
// it tries again every second, and it sees that its pool was closed only then.
func DriverDials() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
}
