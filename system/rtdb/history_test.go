package rtdb_test

import (
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func mapping() ems.HistoryMapping {
	return ems.HistoryMapping{
		ID: "battery", Source: "comsrv:1001:T", Measurement: "tele metry,x",
		Tags:   map[string]string{"device": "the battery", "a=b": "c,d"},
		Fields: map[ems.PointID]string{1: "state of charge", 2: "power"},
	}
}

func TestSamplesBecomeEscapedLinesOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 1}) // before the mapping: nobody asked for it
	if err := b.ConfigureMapping(b.ctx, mapping()); err != nil {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 55.5}, rtdb.Sample{Point: 2, Quality: ems.Bad}, rtdb.Sample{Point: 7, Number: -1})
	b.clock.Advance(time.Second)
	b.ingest(t, 1001, rtdb.Sample{Point: 2, Number: 3, Quality: ems.Uncertain}) // not good: not history
	b.ingest(t, 1001, rtdb.Sample{Point: 2, Number: 4})
	b.ingest(t, 1002, rtdb.Sample{Point: 2, Number: 5}) // another source
	lines, err := b.CollectLines(b.ctx, "hissrv", false, 10)
	if err != nil {
		t.Fatal(err)
	}
	prefix := `tele\ metry\,x,channel=1001,type=T,a\=b=c\,d,device=the\ battery `
	var texts []string
	for _, line := range lines {
		texts = append(texts, line.Text)
	}
	expect(t, "the lines", texts, []string{
		prefix + `state\ of\ charge=55.500000,p7=-1.000000 1782000000000`,
		prefix + `power=4.000000 1782000001000`,
	})
	if fresh, err := b.CollectLines(b.ctx, "hissrv", false, 10); err != nil || len(fresh) != 0 {
		t.Errorf("delivered twice: %v, %v", fresh, err)
	}
	again, err := b.CollectLines(b.ctx, "hissrv", true, 10)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "what was not finished comes again", again, lines)
	if err := b.FinishLines(b.ctx, lines[:1]); err != nil {
		t.Fatal(err)
	}
	if err := b.RejectLine(b.ctx, lines[1], "poison"); err != nil {
		t.Fatal(err)
	}
	status, err := b.BatchStatus(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the status", status, rtdb.HistoryStatus{Written: 1, Dead: 1})
	expect(t, "the dead letter", b.show(t, "hissrv:dead"), "line="+lines[1].Text+" reason=poison time=1782000001000")
	if again, err := b.CollectLines(b.ctx, "hissrv", true, 10); err != nil || len(again) != 0 {
		t.Errorf("left over: %v, %v", again, err)
	}
}

func TestMappingsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for name, spoil := range map[string]func(*ems.HistoryMapping){
		"source":       func(m *ems.HistoryMapping) { m.Source = "comsrv:1001" },
		"measurement":  func(m *ems.HistoryMapping) { m.Measurement = "" },
		"backslash":    func(m *ems.HistoryMapping) { m.Tags["device"] = `a\b` },
		"newline":      func(m *ems.HistoryMapping) { m.Measurement = "a\nb" },
		"control":      func(m *ems.HistoryMapping) { m.Measurement = "a\x01b" },
		"reserved tag": func(m *ems.HistoryMapping) { m.Tags["channel"] = "7" },
		"id":           func(m *ems.HistoryMapping) { m.ID = "a:b" },
		"point":        func(m *ems.HistoryMapping) { m.Fields[0] = "zero" },
	} {
		spoilt := mapping()
		spoil(&spoilt)
		if err := b.ConfigureMapping(b.ctx, spoilt); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
	if err := b.ConfigureMapping(b.ctx, mapping()); err != nil {
		t.Fatal(err)
	}
	renamed := mapping()
	renamed.ID = "renamed"
	if err := b.ConfigureMapping(b.ctx, renamed); err != nil {
		t.Fatal(err)
	}
	expect(t, "the sources after renaming", b.show(t, "hissrv:sources"), "comsrv:1001:T=renamed")
	moved := mapping()
	moved.Source = "comsrv:1001:S"
	if err := b.ConfigureMapping(b.ctx, moved); err != nil {
		t.Fatal(err)
	}
	expect(t, "the sources", b.show(t, "hissrv:sources"), "comsrv:1001:S=battery comsrv:1001:T=renamed")
	if err := b.RetainMappings(b.ctx, []string{"battery", "other"}); err != nil {
		t.Fatal(err)
	}
	expect(t, "the sources that were retained", b.show(t, "hissrv:sources"), "comsrv:1001:S=battery")
}

func TestAFullHistoryStreamCountsWhatItRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.ConfigureMapping(b.ctx, mapping()); err != nil {
		t.Fatal(err)
	}
	fill := "for i = 1, 200000 do redis.call('XADD', KEYS[1], '*', 'x', '1') end"
	if err := b.raw.Eval(b.ctx, fill, []string{"hissrv:stream"}).Err(); err != nil && err.Error() != "redis: nil" {
		t.Fatal(err)
	}
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 9})
	status, err := b.BatchStatus(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the status", status, rtdb.HistoryStatus{Waiting: 200000, Dropped: 1})
	values, err := b.ReadPoints(b.ctx, 1001, ems.Telemetry, []ems.PointID{1})
	if err != nil || values[0].Number != 9 {
		t.Errorf("the value itself must be stored: %v, %v", values, err)
	}
}
