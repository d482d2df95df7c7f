package httpserver

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Check is one thing that a service's health depends on.
type Check struct {
	Name string // redis, functions, influxdb, configuration, …
	// Probe returns a word on what it found, or why the thing is not usable. It
	// returns when ctx ends, at the latest.
	Probe func(ctx context.Context) (detail string, err error)
}

// Health is the reply of /health and /health/detailed.
type Health struct {
	Service string                 `json:"service"`
	Status  string                 `json:"status"` // healthy or unhealthy
	Uptime  float64                `json:"uptime_s"`
	Checks  map[string]CheckResult `json:"checks,omitempty"`
}

// CheckResult is what one check found.
type CheckResult struct {
	Status string `json:"status"` // healthy or unhealthy
	Detail string `json:"detail"`
}

// The words of a status.
const (
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

const checkTimeout = 2 * time.Second

func (s *Server) health(c echo.Context) error {
	health := s.Probe(c.Request().Context())
	failed := health.Failed()
	health.Checks = nil
	return ReplyHealth(c, health, failed)
}

func (s *Server) detailedHealth(c echo.Context) error {
	health := s.Probe(c.Request().Context())
	return ReplyHealth(c, health, health.Failed())
}

// ReplyHealth replies with what was found, and with an error that names every
// failed check where there are any. It is the one reply that holds data and error.
func ReplyHealth(c echo.Context, found any, failed []string) error {
	if len(failed) == 0 {
		return OK(c, found)
	}
	return c.JSON(Status(ems.CodeUnavailable), Envelope{
		Data: found, Error: &Fault{Code: ems.CodeUnavailable, Message: strings.Join(failed, "; "), Details: failed},
	})
}

// Failed returns "check: why" for every check that failed, in the order of their
// names, and nothing for a healthy service.
func (h Health) Failed() []string {
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(h.Checks)) {
		if check := h.Checks[name]; check.Status != Healthy {
			failed = append(failed, name+": "+check.Detail)
		}
	}
	if len(failed) == 0 && h.Status != Healthy {
		return []string{"not healthy, and no check says why"}
	}
	return failed
}

// Probe runs all checks at once, each within checkTimeout.
func (s *Server) Probe(ctx context.Context) Health {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]CheckResult, len(s.checks))
	var group errgroup.Group
	for i, check := range s.checks {
		group.Go(func() error {
			results[i] = s.runCheck(ctx, check)
			return nil
		})
	}
	_ = group.Wait()
	health := Health{
		Service: string(s.target), Status: Healthy,
		Uptime: s.clock.Now().Sub(s.started).Seconds(), Checks: map[string]CheckResult{},
	}
	for i, check := range s.checks {
		health.Checks[check.Name] = results[i]
		if results[i].Status != Healthy {
			health.Status = Unhealthy
		}
	}
	return health
}

// runCheck takes a check that panics for unhealthy: it runs beside the request,
// whose own recovery does not reach it, and would end the process.
func (s *Server) runCheck(ctx context.Context, check Check) (result CheckResult) {
	defer func() {
		if cause := recover(); cause != nil {
			s.logger.Error("panic in a health check", "check", check.Name, "error", cause, "stack", string(debug.Stack()))
			result = CheckResult{Status: Unhealthy, Detail: s.faultText()}
		}
	}()
	detail, err := check.Probe(ctx)
	if err != nil {
		return CheckResult{Status: Unhealthy, Detail: err.Error()}
	}
	return CheckResult{Status: Healthy, Detail: detail}
}

// faultText is all that a caller learns of a panic.
func (s *Server) faultText() string {
	return "an internal fault: see the log of " + string(s.target)
}

func listenVariable(target ems.Target) string {
	return strings.ToUpper(string(target)) + "_LISTEN"
}
