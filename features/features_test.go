package features

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cucumber/godog"

	"github.com/voltageems/voltageems-go/system/ems"
)

// TestFeatures runs every feature of this folder against one running plant.
// Scenarios run one after the other, each from a plant at rest.
func TestFeatures(t *testing.T) {
	t.Parallel()
	running := startSite(t, false)
	suite := godog.TestSuite{
		Name: "features",
		ScenarioInitializer: func(scenario *godog.ScenarioContext) {
			(&steps{site: running}).register(scenario)
		},
		Options: &godog.Options{
			Format: "pretty", Output: os.Stdout, NoColors: true, Strict: true, Paths: []string{"."},
			TestingT: t, DefaultContext: t.Context(),
		},
	}
	if status := suite.Run(); status != 0 {
		t.Fatalf("godog ended with status %d", status)
	}
}

// steps is what one scenario remembers.
type steps struct {
	*site
	shown   pointValue
	result  ems.CommandResult
	refusal error
	alarm   ems.Alarm
	timeMS  int64
}

func (s *steps) register(scenario *godog.ScenarioContext) {
	scenario.Before(func(ctx context.Context, _ *godog.Scenario) (context.Context, error) { return ctx, s.rest(ctx) })
	scenario.Step(`^the operator of the plant sets "([^".]+)\.([^".]+)" to ([-\d.]+)$`, s.setInput)
	scenario.Step(`^the model "([^"]+)" shows "([^"]+)" as ([-\d.]+) "([^"]*)"$`, s.modelShows)
	scenario.Step(`^Redis holds "([^"]+)" for "([^"]+)"$`, s.redisHolds)
	scenario.Step(`^the value is good and not older than (\d+) poll periods$`, s.valueIsFresh)
	scenario.Step(`^a person sets "([^"]+)" of model "([^"]+)" to ([-\d.]+)$`, s.personSets)
	scenario.Step(`^the command is done and reads back ([-\d.]+)$`, s.commandIsDone)
	scenario.Step(`^the request is refused with "([^"]+)"$`, s.requestIsRefused)
	scenario.Step(`^the plant's "([^".]+)\.([^".]+)" settles at ([-\d.]+)$`, s.plantSettles)
	scenario.Step(`^the point "([^"]+)" belongs to "([^"]+)" of model "([^"]+)"$`, s.pointBelongsTo)
	scenario.Step(`^no alarm of rule "([^"]+)" is active$`, s.noAlarm)
	scenario.Step(`^an alarm of rule "([^"]+)" is active with level "([^"]+)" and value ([-\d.]+)$`, s.alarmIsActive)
	scenario.Step(`^"([^"]+)" acknowledges it$`, s.acknowledge)
	scenario.Step(`^the newest alarm of rule "([^"]+)" is "([^"]+)"$`, s.newestAlarmIs)
	scenario.Step(`^history holds ([-\d.]+) for "([^"]+)" at the time that Redis names$`, s.historyHolds)
	scenario.Step(`^the operator of the plant injects "([^"]+)" into "([^".]+)"$`, s.inject)
	scenario.Step(`^the operator of the plant injects "([^"]+)" of ([-\d.]+) into "([^".]+)\.([^".]+)"$`, s.distort)
	scenario.Step(`^the operator of the plant clears all faults$`, s.clearFaults)
	scenario.Step(`^channel (\d+) is (online|offline)$`, s.channelIs)
	scenario.Step(`^the value of "([^"]+)" is (good|bad)$`, s.valueIs)
	scenario.Step(`^the history feed has written entries and dropped none$`, s.feedKeepsUp)
}

// rest takes the plant back to where every scenario begins.
func (s *steps) rest(ctx context.Context) error {
	if err := errors.Join(s.clearFaults(ctx), s.setInput(ctx, "battery", "cell_temperature_rise_c", 0)); err != nil {
		return err
	}
	return s.modelShows(ctx, "battery_001", "cell_temperature_max", 25, "°C")
}

func (s *steps) modelShows(ctx context.Context, model, name string, want float64, unit string) error {
	return eventually(ctx, func(ctx context.Context) error {
		value, err := s.modelValue(ctx, model, name)
		if err != nil {
			return err
		}
		if value.Value == nil || *value.Value != want || value.Unit != unit {
			return fmt.Errorf("%s shows %s, want %v %s", model, value, want, unit)
		}
		s.shown = value
		return nil
	})
}

func (s *steps) redisHolds(ctx context.Context, want, point string) error {
	ref, err := ems.ParsePointRef(point)
	if err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		text, ms, err := s.storedValue(ctx, ref)
		if err == nil && text != want {
			err = fmt.Errorf("%s is %q, want %q", point, text, want)
		}
		s.timeMS = ms
		return err
	})
}

// valueIsFresh waits for the channel's last success to be that young, which it
// always is again within a poll period while the channel is polled.
func (s *steps) valueIsFresh(ctx context.Context, periods int64) error {
	if s.shown.Quality != ems.Good {
		return fmt.Errorf("the quality is %s", s.shown.Quality)
	}
	return eventually(ctx, func(ctx context.Context) error {
		var channel struct {
			LastSuccess  int64   `json:"last_success"`
			PollPeriodMS float64 `json:"poll_period_ms"`
		}
		if err := s.gateway(ctx, http.MethodGet, "/api/channels/1002", nil, &channel); err != nil {
			return err
		}
		if age, limit := time.Now().UnixMilli()-channel.LastSuccess, int64(channel.PollPeriodMS)*periods; age > limit {
			return fmt.Errorf("the last success of the channel was %d ms ago, the limit is %d", age, limit)
		}
		return nil
	})
}

func (s *steps) personSets(ctx context.Context, action, model string, value float64) error {
	s.result, s.refusal = ems.CommandResult{}, nil
	s.refusal = s.gateway(ctx, http.MethodPost, "/api/models/"+model+"/actions/"+action, map[string]float64{"value": value}, &s.result)
	return nil
}

func (s *steps) commandIsDone(want float64) error {
	if s.refusal != nil {
		return s.refusal
	}
	if s.result.State != ems.CommandDone || s.result.ReadBack == nil || *s.result.ReadBack != want {
		return fmt.Errorf("the command ended as %+v", s.result)
	}
	return nil
}

func (s *steps) requestIsRefused(code string) error {
	if s.refusal == nil || ems.CodeOf(s.refusal) != ems.Code(code) {
		return fmt.Errorf("the reply was %w, want %s", s.refusal, code)
	}
	return nil
}

func (s *steps) plantSettles(ctx context.Context, device, quantity string, want float64) error {
	return eventually(ctx, func(ctx context.Context) error {
		value, err := s.truth(ctx, device, quantity)
		if err == nil && math.Abs(value-want) > 1e-9 {
			err = fmt.Errorf("%s.%s is %v, want %v", device, quantity, value, want)
		}
		return err
	})
}

func (s *steps) pointBelongsTo(ctx context.Context, point, name, model string) error {
	ref, err := ems.ParsePointRef(point)
	if err != nil {
		return err
	}
	var names []struct {
		Model string `json:"model"`
		Name  string `json:"name"`
	}
	if err := s.gateway(ctx, http.MethodGet, fmt.Sprintf("/api/points/%d/%s/%d/models", ref.Channel, ref.Type, ref.Point), nil, &names); err != nil {
		return err
	}
	if len(names) != 1 || names[0].Model != model || names[0].Name != name {
		return fmt.Errorf("%s belongs to %v", point, names)
	}
	return nil
}

func (s *steps) noAlarm(ctx context.Context, rule string) error {
	return eventually(ctx, func(ctx context.Context) error {
		alarm, err := s.activeAlarm(ctx, rule)
		if err == nil {
			return fmt.Errorf("alarm %s is active since %v", alarm.ID, alarm.RaisedAt)
		}
		if !strings.HasPrefix(err.Error(), "no active alarm") {
			return err
		}
		return nil
	})
}

func (s *steps) alarmIsActive(ctx context.Context, rule, level string, value float64) error {
	return eventually(ctx, func(ctx context.Context) error {
		alarm, err := s.activeAlarm(ctx, rule)
		if err != nil {
			return err
		}
		if alarm.Level != ems.AlarmLevel(level) || alarm.Value == nil || *alarm.Value != value {
			return fmt.Errorf("the alarm is %+v", alarm)
		}
		s.alarm = alarm
		return nil
	})
}

func (s *steps) acknowledge(ctx context.Context, by string) error {
	return s.gateway(ctx, http.MethodPost, "/api/alarms/"+s.alarm.ID+"/acknowledge", map[string]any{"by": by, "occurrence": s.alarm.Occurrences}, nil)
}

func (s *steps) newestAlarmIs(ctx context.Context, rule, state string) error {
	var alarms []ems.Alarm
	if err := s.gateway(ctx, http.MethodGet, "/api/alarms?state=all", nil, &alarms); err != nil {
		return err
	}
	for _, alarm := range alarms {
		if alarm.Rule == rule {
			if alarm.State != ems.AlarmState(state) {
				return fmt.Errorf("alarm %s is %s", alarm.ID, alarm.State)
			}
			return nil
		}
	}
	return fmt.Errorf("there is no alarm of rule %s", rule)
}

func (s *steps) historyHolds(ctx context.Context, value float64, point string) error {
	ref, err := ems.ParsePointRef(point)
	if err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		samples, err := s.history(ctx, ref)
		if want := (sample{Time: s.timeMS, Value: value}); err == nil && !slices.Contains(samples, want) {
			err = fmt.Errorf("history holds %v, want %v among them", samples, want)
		}
		return err
	})
}

func (s *steps) feedKeepsUp(ctx context.Context) error {
	return eventually(ctx, func(ctx context.Context) error {
		var status struct {
			Written, Dropped, Dead int64
		}
		if err := s.gateway(ctx, http.MethodGet, "/api/history/status", nil, &status); err != nil {
			return err
		}
		if status.Written == 0 || status.Dropped != 0 || status.Dead != 0 {
			return fmt.Errorf("the feed stands at %+v", status)
		}
		return nil
	})
}
