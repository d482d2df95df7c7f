package httpserver

import (
	"context"
	"net/http"
	"runtime/debug"
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
	health.Checks = nil
	return replyHealth(c, health)
}

func (s *Server) detailedHealth(c echo.Context) error {
	return replyHealth(c, s.Probe(c.Request().Context()))
}

func replyHealth(c echo.Context, health Health) error {
	status := http.StatusOK
	if health.Status != Healthy {
		status = http.StatusServiceUnavailable
	}
	return c.JSON(status, Envelope{Success: status == http.StatusOK, Data: health})
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
