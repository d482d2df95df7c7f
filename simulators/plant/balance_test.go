package plant

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSettle(t *testing.T) {
	t.Parallel()
	battery := offer{rank: rankBattery, wanted: 10, least: -50, most: 50, forms: true, rating: 50}
	pv := offer{rank: rankPV, wanted: 40, most: 40}
	genset := offer{rank: rankGenset, wanted: 20, most: 100, forms: true, rating: 100}
	off := offer{rank: rankGenset}
	load := func(p Power) offer { return offer{rank: rankLoad, wanted: -p, least: -p} }
	cases := map[string]struct {
		offers []offer
		grid   bool
		want   settlement
	}{
		"the grid takes the rest": {
			[]offer{battery, pv, genset, load(90)}, true,
			settlement{[]Power{10, 40, 20, -90}, 20, true},
		},
		"the grid takes the surplus": {
			[]offer{battery, pv, off, load(5)}, true,
			settlement{[]Power{10, 40, 0, -5}, -45, true},
		},
		"the battery covers a deficit": {
			[]offer{battery, pv, off, load(90)}, false,
			settlement{[]Power{50, 40, 0, -90}, 0, true},
		},
		"the battery takes a surplus": {
			[]offer{battery, pv, off, load(5)}, false,
			settlement{[]Power{-35, 40, 0, -5}, 0, true},
		},
		"beyond the battery a running genset helps": {
			[]offer{battery, pv, genset, load(120)}, false,
			settlement{[]Power{50, 40, 30, -120}, 0, true},
		},
		"beyond all sources load is shed": {
			[]offer{battery, pv, off, load(120)}, false,
			settlement{[]Power{50, 40, 0, -90}, 0, true},
		},
		"beyond the battery PV is curtailed, then the genset": {
			[]offer{{rank: rankBattery, least: -5, most: 50, forms: true, rating: 50}, pv, genset, load(10)}, false,
			settlement{[]Power{-5, 0, 15, -10}, 0, true},
		},
		"nothing forms the bus": {
			[]offer{{rank: rankBattery}, pv, off, load(10)}, false,
			settlement{[]Power{0, 0, 0, 0}, 0, false},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := settle(c.offers, c.grid)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(settlement{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSettleProperty holds for any devices: the sum is 0, nobody leaves its
// limits, load is shed only if every source is at its most, and the order of the
// devices does not change what a rank carries.
func TestSettleProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		power := rapid.Int64Range(0, 1e12)
		offers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) offer {
			o := offer{rank: rank(rapid.IntRange(0, int(rankCount)-1).Draw(t, "rank"))}
			size := Power(power.Draw(t, "size"))
			switch o.rank {
			case rankBattery:
				o.least, o.most = -Power(power.Draw(t, "charge")), size
				o.wanted = Power(rapid.Int64Range(int64(o.least), int64(o.most)).Draw(t, "wanted"))
				o.forms = rapid.Bool().Draw(t, "forms")
			case rankPV:
				o.wanted, o.most = size, size
			case rankGenset:
				o.most, o.forms = size, rapid.Bool().Draw(t, "forms")
				o.wanted = Power(rapid.Int64Range(0, int64(size)).Draw(t, "wanted"))
			default:
				o.wanted, o.least = -size, -size
			}
			return o
		}), 1, 12).Draw(t, "offers")
		grid := rapid.Bool().Draw(t, "grid")
		settled := settle(offers, grid)
		sum := settled.grid
		shed, spare := Power(0), Power(0)
		for i, o := range offers {
			sum += settled.power[i]
			if settled.live && (settled.power[i] < o.least || settled.power[i] > o.most) {
				t.Fatalf("device %d at %d leaves %d..%d", i, settled.power[i], o.least, o.most)
			}
			if o.rank == rankLoad {
				shed += settled.power[i] - o.wanted
			} else {
				spare += o.most - settled.power[i]
			}
		}
		if sum != 0 {
			t.Fatalf("the sum is %d", sum)
		}
		if settled.live && shed > 0 && (grid || spare > 0) {
			t.Fatalf("%d of load shed with %d to spare, grid %v", shed, spare, grid)
		}
		if !grid && settled.grid != 0 {
			t.Fatalf("%d from a grid that is not there", settled.grid)
		}
	})
}
