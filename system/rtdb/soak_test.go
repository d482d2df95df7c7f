package rtdb_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

//nolint:gochecknoglobals // flags of this test
var (
	soakFor  = flag.Duration("soak", 2*time.Second, "how long the mix of random operations goes on")
	soakSeed = flag.Uint64("soak.seed", 0, "seed of the mix; 0 takes a new one")
)

// Bounds of a soak.
const (
	soakSites = 4                    // sites that share its Redis
	soakLeast = 50                   // steps of each site, however slow the machine
	soakTold  = 30 * time.Second     // how often it says how far it is
	soakPace  = 5 * time.Millisecond // between two loads of the library
)

// TestSoak does random operations of all kinds on several sites of one Redis while
// the library is loaded anew all the time, and compares every reply with a plain
// model. `make soak` lets it go on for ten minutes.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -soak.seed=%d", seed, seed)
	b := newBench(t, "")
	began := time.Now()
	end := began.Add(*soakFor)
	var steps, loads atomic.Int64
	group, ctx := errgroup.WithContext(b.ctx)
	working, stop := context.WithCancel(ctx)
	defer stop()
	sites, inSites := errgroup.WithContext(working)
	for i := range soakSites {
		random := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // a test repeats what its seed gives
		site := openMixedSite(t, b, fmt.Sprintf("site%d", i), random)
		sites.Go(func() error {
			for n := 0; n < soakLeast || time.Now().Before(end); n++ {
				if err := site.step(inSites); err != nil {
					return fmt.Errorf("%s, step %d: %w", site.db.Namespace(), n, err)
				}
				steps.Add(1)
			}
			return site.checkAll(inSites)
		})
	}
	group.Go(func() error {
		defer stop()
		return sites.Wait()
	})
	group.Go(func() error {
		pace := time.NewTicker(soakPace)
		defer pace.Stop()
		for told := began; working.Err() == nil; loads.Add(1) {
			select {
			case <-pace.C:
			case <-working.Done():
			}
			if err := b.Load(working); err != nil && working.Err() == nil {
				return err
			}
			if time.Since(told) > soakTold {
				told = time.Now()
				fmt.Printf("soak: %s, %d steps, %d loads of the library\n", time.Since(began).Round(time.Second), steps.Load(), loads.Load())
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	t.Logf("%d steps agreed with the plain model, under %d loads of the library", steps.Load(), loads.Load())
}

func openMixedSite(t *testing.T, b *bench, name string, random *rand.Rand) *mixedSite {
	t.Helper()
	namespace, err := ems.NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	clock := ems.NewManualClock(start)
	db, err := rtdb.Open(rtdb.Options{URL: b.server.URL, Namespace: namespace, Clock: clock, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newMixedSite(db, clock, random)
}
