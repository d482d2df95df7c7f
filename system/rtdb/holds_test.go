package rtdb_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// inForce is the plain reference of the holds of one point: the values that may
// be in force, each with the time until when it stands, 0 for ever.
type inForce struct {
	possible []int64
	pending  int64 // until when that of the write under way would stand
	writing  string
}

func (f *inForce) due() (earliest int64) {
	all := f.possible
	if f.writing != "" {
		all = append(all[:len(all):len(all)], f.pending)
	}
	for _, until := range all {
		if until > 0 && (earliest == 0 || until < earliest) {
			earliest = until
		}
	}
	return earliest
}

// TestHoldsAreDueWhenTheFirstPossibleValueIs, whatever writes begin, end, fail and
// are never heard of again.
func TestHoldsAreDueWhenTheFirstPossibleValueIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "{north}:")
	point := ems.PointRef{Channel: 7, Type: ems.Adjustment, Point: 2}
	number := 0
	rapid.Check(t, func(t *rapid.T) {
		number++
		point.Point = ems.PointID(number)
		var model inForce
		var clock int64
		now := func() int64 { clock += 10; return clock }
		arm := func(t *rapid.T, ends string) {
			number++
			id := fmt.Sprintf("c%d", number)
			length := rapid.SampledFrom([]int64{0, 100, 500, 5000}).Draw(t, "ms")
			at := now()
			err := b.raw.FCall(b.ctx, "comsrv_hold_arm", []string{"{north}:7"}, "A", uint32(point.Point), id, length, at, ends).Err()
			if err != nil {
				t.Fatal(err)
			}
			if model.writing != "" {
				model.possible = append(model.possible, model.pending)
			}
			model.writing, model.pending = id, 0
			if length > 0 {
				model.pending = at + length
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"arm": func(t *rapid.T) { arm(t, "") },
			"end": func(t *rapid.T) {
				if due := model.due(); due > 0 {
					arm(t, fmt.Sprint(due))
				}
			},
			"settle": func(t *rapid.T) {
				if model.writing == "" {
					return
				}
				done := rapid.Bool().Draw(t, "done")
				if err := b.SettleHold(b.ctx, ems.Command{ID: model.writing, Target: point}, done); err != nil {
					t.Fatal(err)
				}
				if done {
					model.possible = []int64{model.pending}
				}
				model.writing, model.pending = "", 0
			},
			"settle another": func(t *rapid.T) {
				if err := b.SettleHold(b.ctx, ems.Command{ID: "another", Target: point}, true); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				holds, err := b.DueHolds(b.ctx)
				if err != nil {
					t.Fatal(err)
				}
				var due int64
				for _, hold := range holds {
					if hold.Target == point {
						due = hold.Due.UnixMilli()
					}
				}
				if want := model.due(); due != want {
					t.Fatalf("due at %d, want %d: %+v", due, want, model)
				}
			},
		})
	})
}

// TestDueHoldsComeInPages, all of them, the oldest first; and one that ended in
// another way, or was renewed, is not ended again.
func TestDueHoldsComeInPages(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	const count = 1003
	for i := range count {
		command := ems.Command{ID: "c", Target: ems.PointRef{Channel: 1, Type: ems.Control, Point: ems.PointID(i + 1)}, Hold: time.Duration(count-i) * time.Millisecond}
		if err := b.raw.FCall(b.ctx, "comsrv_hold_arm", []string{"1"}, "C", i+1, "c", command.Hold.Milliseconds(), 1000, "").Err(); err != nil {
			t.Fatal(err)
		}
	}
	holds, err := b.DueHolds(b.ctx)
	if err != nil || len(holds) != count || holds[0].Target.Point != count || holds[0].Due.UnixMilli() != 1001 || holds[count-1].Target.Point != 1 {
		t.Fatalf("%d holds, %v", len(holds), err)
	}
	wrong := rtdb.Hold{Target: holds[0].Target, Due: holds[1].Due}
	for _, hold := range []rtdb.Hold{wrong, holds[0], holds[0]} {
		if err := b.EndHold(b.ctx, hold); err != nil {
			t.Fatal(err)
		}
		left, err := b.DueHolds(b.ctx)
		if want := count - 1; err != nil || hold == wrong && len(left) != count || hold != wrong && len(left) != want {
			t.Fatalf("%+v: %d holds are left, %v", hold, len(left), err)
		}
	}
}
