package bench

import (
	"context"
	"fmt"
	"strconv"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// The site under load: one channel with a full block of telemetry that goes to
// history, rules that watch it and never fire, and a model of half of it. Beside
// it are the channels of the devices that are polled.
const (
	channel     = ems.ChannelID(1)
	points      = 100
	rules       = 20
	modelPoints = 50
	modelID     = "bench_model"
	group       = "default"
)

func ruleID(n int) string { return fmt.Sprintf("bench_rule_%02d", n%rules+1) }

func firstBlock() block { return block{channel: channel, size: points} }

// seed stores the site. Each rule compares two points that lie half a block
// apart, so that a small batch leaves one of them to be read from Redis.
func (s *server) seed(ctx context.Context, clock ems.Clock) (err error) {
	if s.fields, err = nativeFields(); err != nil {
		return err
	}
	for point := range modelPoints {
		s.ids = append(s.ids, strconv.Itoa(point+1))
	}
	db := s.db
	if err := seedModel(ctx, db); err != nil {
		return err
	}
	var watching []ems.Rule
	for n := range rules {
		first, second := n*points/rules, (n*points/rules+points/2)%points
		watching = append(watching, neverFires(ruleID(n), firstBlock(), first, second))
	}
	if err := s.seedRules(ctx, watching); err != nil {
		return err
	}
	if err := s.seedBlock(ctx, clock, firstBlock()); err != nil {
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
