package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// The site under load: one channel with a full block of telemetry that goes to
// history, rules that watch it and never fire, and a model of half of it. Beside
// it are the channels of the devices that are polled.
const (
	siteName    = "bench"
	channel     = ems.ChannelID(1)
	points      = 100
	rules       = 20
	modelPoints = 50
	modelID     = "bench_model"
	group       = "default"
)

// freshFor keeps the values good for as long as a run may take.
const freshFor = 24 * time.Hour

func ruleID(n int) string { return fmt.Sprintf("bench_rule_%02d", n%rules+1) }

// seed stores the site. Each rule compares two points that lie half a block
// apart, so that a small batch leaves one of them to be read from Redis, and
// joins them by OR, so that both are compared each time.
func (s *server) seed(ctx context.Context, clock ems.Clock) (err error) {
	if s.fields, err = nativeFields(); err != nil {
		return err
	}
	for point := range modelPoints {
		s.ids = append(s.ids, strconv.Itoa(point+1))
	}
	db := s.db
	if err := db.ConfigureMapping(ctx, historyOf(channel, points)); err != nil {
		return err
	}
	if err := seedModel(ctx, db); err != nil {
		return err
	}
	never := 1e6
	for n := range rules {
		first, second := n*points/rules, (n*points/rules+points/2)%points
		rule := ems.Rule{
			ID: ruleID(n), Name: "never fires", Logic: ems.Any,
			Conditions: []ems.Condition{
				{Source: source(first), Operator: ">", Value: ems.Number(never)},
				{Source: source(second), Operator: ">=", Value: ems.Number(never)},
			},
			Actions: []ems.Action{{Type: ems.ActionCreateAlarm, Params: map[string]any{
				"level": string(ems.Warning), "title": "a value of the bench is beyond all bounds",
			}}},
		}
		if err := db.UpsertRule(ctx, rule); err != nil {
			return err
		}
	}
	if err := db.SetStatus(ctx, channel, rtdb.ChannelStatus{Online: true, StaleAfter: freshFor}); err != nil {
		return err
	}
	if err := db.Ingest(ctx, batch(clock.Now(), 0, 0, points)); err != nil {
		return err
	}
	return s.seedDevices(ctx, clock)
}

func seedModel(ctx context.Context, db *rtdb.Client) error {
	template := ems.Template{ID: "bench_template", Name: "half of a block"}
	model := ems.Model{
		ID: modelID, Template: template.ID,
		Mapping: ems.ModelMapping{Channel: channel, Data: map[string]ems.ModelPoint{}},
	}
	for point := range modelPoints {
		name := modelName(point)
		template.Data = append(template.Data, ems.TemplateField{Name: name, Unit: "kW"})
		model.Mapping.Data[name] = ems.ModelPoint(fmt.Sprintf("T:%d", point+1))
	}
	if err := db.UpsertTemplate(ctx, template); err != nil {
		return err
	}
	return db.UpsertModel(ctx, model)
}

func source(point int) string {
	return ems.PointRef{Channel: channel, Type: ems.Telemetry, Point: ems.PointID(point + 1)}.String()
}

// number is the value of a point, counted from 0, in call n: from 0 to 1000 with
// three decimals, and another one in each of a million calls in a row.
func number(n, point int) float64 { return float64((n*1009+point*7919)%1_000_000) / 1000 }

// batch is what a poll brings in call n: count points from first on, wrapping
// round at the end of the block.
func batch(at time.Time, n, first, count int) rtdb.Batch {
	samples := make([]rtdb.Sample, count)
	for i := range samples {
		point := (first + i) % points
		samples[i] = rtdb.Sample{Point: ems.PointID(point + 1), Number: number(n, point)}
	}
	return rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: group, Time: at, Samples: samples}
}
