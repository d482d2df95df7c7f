package main

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/scenarios"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// pointsMetric counts the points that comsrv has read, by channel.
const pointsMetric = "voltage_comsrv_points_total"

// standing is how the system does at one moment. What could not be learnt is
// negative.
type standing struct {
	uptime    time.Duration
	children  []managed.Status
	unhealthy []string // services
	online    int      // channels
	channels  int
	points    float64 // per second
	alarms    int
}

// rows returns the standing as names and texts.
func (s standing) rows() [][2]string {
	return [][2]string{
		{"processes", s.processes()},
		{"services", s.services()},
		{"channels", s.channelText()},
		{"points", s.pointText()},
		{"alarms", numberText(float64(s.alarms), "%.0f active")},
	}
}

// attributes returns the standing for a log line.
func (s standing) attributes() []any {
	var attributes []any
	for _, row := range s.rows() {
		attributes = append(attributes, row[0], row[1])
	}
	return attributes
}

func (s standing) processes() string {
	texts := make([]string, len(s.children))
	for i, child := range s.children {
		texts[i] = fmt.Sprintf("%s %d", child.Name, child.PID)
		if child.State != managed.Ready {
			texts[i] = fmt.Sprintf("%s %s", child.Name, child.State)
		}
		if child.Restarts > 0 {
			texts[i] += fmt.Sprintf(" (restarted %d×)", child.Restarts)
		}
	}
	return strings.Join(texts, " · ")
}

func (s standing) services() string {
	if len(s.unhealthy) == 0 {
		return fmt.Sprintf("all %d healthy", len(ems.Targets))
	}
	return "not healthy: " + strings.Join(s.unhealthy, ", ")
}

func (s standing) channelText() string {
	if s.channels < 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d of %d online", s.online, s.channels)
}

// pointText needs two looks to know a rate.
func (s standing) pointText() string {
	if s.points < 0 {
		return "measuring"
	}
	return fmt.Sprintf("%.0f per second", s.points)
}

func numberText(number float64, form string) string {
	if number < 0 {
		return "unknown"
	}
	return fmt.Sprintf(form, number)
}

// watch looks at a running stack from time to time.
type watch struct {
	stack  *scenarios.Stack
	clock  ems.Clock
	begun  time.Time
	total  float64 // points read until then
	looked time.Time
}

func newWatch(stack *scenarios.Stack, clock ems.Clock) *watch {
	return &watch{stack: stack, clock: clock, begun: clock.Now(), total: -1}
}

func (w *watch) look(ctx context.Context) standing {
	seen := standing{
		uptime: w.clock.Now().Sub(w.begun), children: w.stack.Status(),
		unhealthy: w.stack.Unhealthy(ctx), channels: -1, alarms: -1, points: w.rate(ctx),
	}
	if channels, err := w.stack.ChannelStates(ctx); err == nil {
		seen.channels = 0
		for _, channel := range channels {
			if channel.Enabled {
				seen.channels++
			}
			if channel.Enabled && channel.Online {
				seen.online++
			}
		}
	}
	if alarms, err := w.stack.ActiveAlarms(ctx); err == nil {
		seen.alarms = alarms
	}
	return seen
}

// rate returns the points read per second since the last look, -1 where there
// are no two looks to compare: at first, and after comsrv began anew.
func (w *watch) rate(ctx context.Context) float64 {
	text, err := w.stack.Metrics(ctx, ems.Comsrv)
	if err != nil {
		w.total = -1
		return -1
	}
	before, since := w.total, w.looked
	w.total, w.looked = sumMetric(text, pointsMetric), w.clock.Now()
	seconds := w.looked.Sub(since).Seconds()
	if before < 0 || w.total < before || seconds <= 0 {
		return -1
	}
	return (w.total - before) / seconds
}

// sumMetric adds up a metric over its labels, in the text form of Prometheus.
func sumMetric(text, name string) float64 {
	sum := 0.0
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), name)
		if !found || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		fields := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if len(fields) == 0 {
			continue
		}
		if value, err := strconv.ParseFloat(fields[0], 64); err == nil {
			sum += value
		}
	}
	return sum
}
