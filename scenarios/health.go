package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of asking a service.
const (
	askWithin     = 2 * time.Second
	largestAnswer = 4 << 20 // bytes
	healthPeriod  = 50 * time.Millisecond
)

// WaitHealthy returns nil when every child is ready, every service and the
// plant answer that they are healthy, and every channel of the site is online.
func (s *Stack) WaitHealthy(ctx context.Context) error {
	timer := s.options.Clock.NewTimer(healthPeriod)
	defer timer.Stop()
	for {
		if err := s.supervisor.WaitReady(ctx); err != nil {
			return err
		}
		err := s.Healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-timer.C():
			timer.Reset(healthPeriod)
		case <-ctx.Done():
			return ems.Errorf(ems.CodeUnavailable, "not healthy in time: %w", err)
		}
	}
}

// Unhealthy returns the names of the services that do not answer that they are
// healthy.
func (s *Stack) Unhealthy(ctx context.Context) []string {
	var names []string
	for _, target := range ems.Targets {
		if s.probe(ctx, string(target), s.URL(target)) != nil {
			names = append(names, string(target))
		}
	}
	return names
}

// Metrics returns the metrics of a service, in the text form of Prometheus.
func (s *Stack) Metrics(ctx context.Context, target ems.Target) (string, error) {
	text, err := get(ctx, s.URL(target)+"/metrics")
	return string(text), err
}

// Healthy asks everything once, and returns what is not as it should be.
func (s *Stack) Healthy(ctx context.Context) error {
	faults := []error{s.probe(ctx, "plant", s.ControlURL())}
	for _, target := range ems.Targets {
		faults = append(faults, s.probe(ctx, string(target), s.URL(target)))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	channels, err := s.ChannelStates(ctx)
	if err != nil {
		return err
	}
	for _, channel := range channels {
		if channel.Enabled && !channel.Online && !channel.Made {
			faults = append(faults, ems.Errorf(ems.CodeUnavailable, "channel %d (%s) is not online", channel.ID, channel.Name))
		}
	}
	return errors.Join(faults...)
}

// probe asks one service for its health.
func (s *Stack) probe(ctx context.Context, name, base string) error {
	if _, err := get(ctx, base+"/health"); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "%s: %w", name, err)
	}
	return nil
}

// ChannelState is what the gateway says of a channel.
type ChannelState struct {
	ID      ems.ChannelID
	Name    string
	Enabled bool
	Online  bool
	Made    bool // through the API: its device need not be there
}

// UnmarshalJSON takes a channel that says nothing of it for enabled.
func (c *ChannelState) UnmarshalJSON(text []byte) error {
	answer := struct {
		ID      ems.ChannelID `json:"id"`
		Name    string        `json:"name"`
		Enabled *bool         `json:"enabled"`
		Online  bool          `json:"online"`
		Origin  string        `json:"origin"`
	}{}
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	*c = ChannelState{ID: answer.ID, Name: answer.Name, Enabled: answer.Enabled == nil || *answer.Enabled, Online: answer.Online, Made: answer.Origin == "api"}
	return nil
}

// ChannelStates asks the gateway for the channels of the site.
func (s *Stack) ChannelStates(ctx context.Context) ([]ChannelState, error) {
	var channels []ChannelState
	return channels, s.ask(ctx, "/api/channels", &channels)
}

// ActiveAlarms asks the gateway how many alarms are active.
func (s *Stack) ActiveAlarms(ctx context.Context) (int, error) {
	var alarms []json.RawMessage
	err := s.ask(ctx, "/api/alarms?state=active", &alarms)
	return len(alarms), err
}

// ask decodes the data of the gateway's reply.
func (s *Stack) ask(ctx context.Context, path string, into any) error {
	text, err := get(ctx, s.GatewayURL()+path)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "apigateway: %w", err)
	}
	answer := struct {
		Data any `json:"data"`
	}{into}
	if err := json.Unmarshal(text, &answer); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "apigateway: %s: %w", path, err)
	}
	return nil
}

// get returns the body of a reply with status 200.
func get(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "%w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "%s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, ems.Errorf(ems.CodeUnavailable, "%s answered %d: %s", address, response.StatusCode, shorten(string(body)))
	}
	return body, nil
}

func shorten(text string) string {
	const longest = 300
	if len(text) > longest {
		return fmt.Sprintf("%s…", text[:longest])
	}
	return text
}
