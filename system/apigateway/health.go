package apigateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// overall is the health of the whole suite.
type overall struct {
	Status   string                           `json:"status"` // healthy only if every service is
	Services map[ems.Target]httpserver.Health `json:"services"`
}

// Bounds of asking one service, which itself takes up to two seconds.
const (
	healthTimeout = 3 * time.Second
	healthBytes   = 1 << 20
)

// detailedHealth asks all services at once.
func (s *Service) detailedHealth(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), healthTimeout)
	defer cancel()
	results := make([]httpserver.Health, len(ems.Targets))
	var group errgroup.Group
	for i, target := range ems.Targets {
		group.Go(func() error {
			if target == ems.Apigateway {
				results[i] = s.server.Probe(ctx)
			} else {
				results[i] = s.askHealth(ctx, target)
			}
			return nil
		})
	}
	_ = group.Wait()
	reply := overall{Status: httpserver.Healthy, Services: map[ems.Target]httpserver.Health{}}
	var failed []string
	for i, target := range ems.Targets {
		reply.Services[target] = results[i]
		for _, fault := range results[i].Failed() {
			reply.Status = httpserver.Unhealthy
			failed = append(failed, string(target)+": "+fault)
		}
	}
	return httpserver.ReplyHealth(c, reply, failed)
}

// askHealth returns what a service says of itself; one that says nothing is
// unhealthy.
func (s *Service) askHealth(ctx context.Context, target ems.Target) httpserver.Health {
	health, err := s.fetchHealth(ctx, target)
	if err != nil {
		return httpserver.Health{
			Service: string(target), Status: httpserver.Unhealthy,
			Checks: map[string]httpserver.CheckResult{
				"http": {Status: httpserver.Unhealthy, Detail: fmt.Sprintf("does not answer at %s: %v", s.endpoints[target].Redacted(), err)},
			},
		}
	}
	return health
}

func (s *Service) fetchHealth(ctx context.Context, target ems.Target) (httpserver.Health, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.endpoints[target].JoinPath("/health/detailed").String(), nil)
	if err != nil {
		return httpserver.Health{}, err
	}
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return httpserver.Health{}, err
	}
	defer response.Body.Close()
	var envelope struct {
		Data httpserver.Health `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, healthBytes)).Decode(&envelope); err != nil {
		return httpserver.Health{}, fmt.Errorf("the answer is %s without the JSON that is expected: %w", response.Status, err)
	}
	if envelope.Data.Service != string(target) {
		return httpserver.Health{}, fmt.Errorf("it calls itself %q", envelope.Data.Service)
	}
	return envelope.Data, nil
}
