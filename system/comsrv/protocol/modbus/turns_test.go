package modbus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// awaitWaiting waits until so many wait for their turn.
func awaitWaiting(t *testing.T, turns *turns, want int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		turns.mu.Lock()
		got := len(turns.waiting)
		turns.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait; want %d", got, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// request is one who wants a turn.
type request struct {
	unit  uint8
	write bool
}

// orderOf lets requests wait one after the other behind a turn that unit 0 has,
// and returns the order in which they get theirs.
func orderOf(t *testing.T, requests ...request) []request {
	t.Helper()
	var turns turns
	ctx := context.Background()
	if err := turns.take(ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	var got []request // whose turn it is appends to it
	var done sync.WaitGroup
	for i, wanted := range requests {
		done.Go(func() {
			if err := turns.take(ctx, wanted.unit, wanted.write); err != nil {
				t.Error(err)
			}
			got = append(got, wanted)
			turns.give()
		})
		awaitWaiting(t, &turns, i+1)
	}
	turns.give()
	done.Wait()
	if err := turns.take(ctx, 0, false); err != nil || len(turns.waiting) > 0 {
		t.Fatalf("%v; %d wait", err, len(turns.waiting))
	}
	return got
}

func TestUnitsTakeTurns(t *testing.T) {
	t.Parallel()
	got := orderOf(t, request{unit: 5}, request{unit: 5}, request{unit: 5}, request{unit: 9}, request{unit: 2}, request{unit: 9})
	want := []request{{unit: 2}, {unit: 5}, {unit: 9}, {unit: 5}, {unit: 9}, {unit: 5}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{})); diff != "" {
		t.Error(diff)
	}
}

func TestWritesGoBeforeReads(t *testing.T) {
	t.Parallel()
	got := orderOf(t, request{1, false}, request{2, false}, request{7, true}, request{3, true}, request{3, true})
	want := []request{{3, true}, {7, true}, {3, true}, {1, false}, {2, false}}
	// 3 comes after 0, 7 after 3, and 3 once more before anybody reads.
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{})); diff != "" {
		t.Error(diff)
	}
}

// TestWritesCannotKeepReadsOff: one read comes between every so many writes.
func TestWritesCannotKeepReadsOff(t *testing.T) {
	t.Parallel()
	requests := []request{{1, false}, {1, false}}
	for range 2*maxWrites + 1 {
		requests = append(requests, request{1, true})
	}
	var reads []int
	for i, got := range orderOf(t, requests...) {
		if !got.write {
			reads = append(reads, i)
		}
	}
	if diff := cmp.Diff([]int{maxWrites, 2*maxWrites + 1}, reads); diff != "" {
		t.Error(diff)
	}
}

// TestATurnThatComesTooLate is passed on: it was given to one who had just given
// up.
func TestATurnThatComesTooLate(t *testing.T) {
	t.Parallel()
	var turns turns
	if err := turns.take(context.Background(), 1, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() { gaveUp <- turns.take(ctx, 2, false) }()
	awaitWaiting(t, &turns, 1)
	turns.mu.Lock()
	cancel() // it wakes for this, and cannot say so yet
	turns.pass()
	turns.mu.Unlock()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := turns.take(ctx, 3, false); err != nil {
		t.Error("the turn is lost:", err)
	}
}

// TestOneAtATime: whoever comes, waits and gives up, never do two have the turn,
// and nobody waits who could have it.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var turns turns
		var mu sync.Mutex
		has, most := 0, 0
		var done sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range rapid.IntRange(1, 30).Draw(rt, "users") {
			unit, write := rapid.Uint8().Draw(rt, "unit"), rapid.Bool().Draw(rt, "write")
			mine, end := context.Background(), rapid.Bool().Draw(rt, "gives up")
			if end {
				mine = ctx
			}
			done.Go(func() {
				if err := turns.take(mine, unit, write); err != nil {
					if !end || !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				has++
				most = max(most, has)
				mu.Unlock()
				time.Sleep(10 * time.Microsecond)
				mu.Lock()
				has--
				mu.Unlock()
				turns.give()
			})
		}
		cancel()
		finished := make(chan struct{})
		go func() {
			done.Wait()
			close(finished)
		}()
		select {
		case <-finished:
		case <-time.After(10 * time.Second):
			rt.Fatal("somebody waits for ever")
		}
		if most > 1 || turns.taken || len(turns.waiting) > 0 {
			rt.Fatalf("%d at once; taken %v, %d wait", most, turns.taken, len(turns.waiting))
		}
	})
}
