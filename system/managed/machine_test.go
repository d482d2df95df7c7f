package managed

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world plays the executor of a machine: it keeps which processes run and which
// pauses are pending, and breaks the test where an action is not allowed.
type world struct {
	machine *machine
	running []bool
	asked   []bool // to stop
	pausing []bool
	ready   []bool
	ever    []bool
}

func (w *world) do(t *rapid.T, actions []action) {
	for _, act := range actions {
		switch act.kind {
		case startChild:
			if w.machine.stopping {
				t.Fatalf("child %d is started while stopping", act.child)
			}
			if w.running[act.child] || w.pausing[act.child] {
				t.Fatalf("child %d is started while it runs or pauses", act.child)
			}
			for _, need := range w.machine.needs[act.child] {
				if !w.ready[need] {
					t.Fatalf("child %d is started before %d, which it needs, is ready", act.child, need)
				}
			}
			w.running[act.child] = true
		case stopChild:
			if !w.running[act.child] || slices.Contains(w.asked, true) {
				t.Fatalf("child %d is asked to stop while it does not run, or another is still stopping", act.child)
			}
			if slices.Contains(w.running[act.child+1:], true) {
				t.Fatalf("child %d is asked to stop before a later one is gone", act.child)
			}
			w.asked[act.child] = true
		case retryChild:
			if w.machine.stopping || w.running[act.child] || !w.ever[act.child] {
				t.Fatalf("child %d is to be started again out of turn", act.child)
			}
			w.pausing[act.child] = true
		}
	}
}

func (w *world) end(t *rapid.T, child int) {
	stopping := w.machine.stopping
	w.running[child], w.ready[child], w.asked[child] = false, false, false
	w.do(t, w.machine.ended(child))
	if !stopping && !w.ever[child] && (!w.machine.stopping || w.machine.failed != child) {
		t.Fatalf("child %d ended before it was ever ready, and the start goes on", child)
	}
}

func (w *world) becomeReady(t *rapid.T, child int) {
	w.ready[child], w.ever[child] = true, true
	w.do(t, w.machine.ready(child))
}

func (w *world) resume(t *rapid.T, child int) {
	w.pausing[child] = false
	w.do(t, w.machine.retry(child))
}

func (w *world) check(t *rapid.T) {
	if all := !slices.Contains(w.ready, false) && !w.machine.stopping; w.machine.allReady() != all {
		t.Fatalf("all ready: %v, want %v; states %v", w.machine.allReady(), all, w.machine.states)
	}
	if w.machine.done() != (w.machine.stopping && !slices.Contains(w.running, true)) {
		t.Fatalf("done is %v; states %v", w.machine.done(), w.machine.states)
	}
	for i, state := range w.machine.states {
		if state.running() != w.running[i] {
			t.Fatalf("child %d is %s, running is %v", i, state, w.running[i])
		}
	}
}

func pick(t *rapid.T, of []bool) (int, bool) {
	var candidates []int
	for i, yes := range of {
		if yes {
			candidates = append(candidates, i)
		}
	}
	if len(candidates) == 0 {
		return 0, false
	}
	return rapid.SampledFrom(candidates).Draw(t, "child"), true
}

func newWorld(t *rapid.T) *world {
	count := rapid.IntRange(1, 6).Draw(t, "children")
	needs := make([][]int, count)
	for i := range needs {
		for j := range i {
			if rapid.Bool().Draw(t, "needs") {
				needs[i] = append(needs[i], j)
			}
		}
	}
	flags := func() []bool { return make([]bool, count) }
	return &world{machine: newMachine(needs), running: flags(), asked: flags(), pausing: flags(), ready: flags(), ever: flags()}
}

func (w *world) startingChildren() []bool {
	starting := make([]bool, len(w.running))
	for i := range starting {
		starting[i] = w.running[i] && !w.ready[i] && !w.asked[i]
	}
	return starting
}

func TestMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.do(t, w.machine.begin())
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"ready": func(t *rapid.T) {
				if child, ok := pick(t, w.startingChildren()); ok && !w.machine.stopping {
					w.becomeReady(t, child)
				}
			},
			"end": func(t *rapid.T) {
				if child, ok := pick(t, w.running); ok {
					w.end(t, child)
				}
			},
			"pause over": func(t *rapid.T) {
				if child, ok := pick(t, w.pausing); ok && !w.machine.stopping {
					w.resume(t, child)
				}
			},
			"stop": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "whether") == 0 {
					w.do(t, w.machine.stop())
				}
			},
		})
		w.settle(t)
	})
}

// settle checks that from wherever the walk ended, undisturbed children all
// become ready, and that a stop then ends them all.
func (w *world) settle(t *rapid.T) {
	for range 100 {
		if child, ok := pick(t, w.pausing); ok && !w.machine.stopping {
			w.resume(t, child)
		} else if child, ok := pick(t, w.startingChildren()); ok && !w.machine.stopping {
			w.becomeReady(t, child)
		}
	}
	w.check(t)
	if !w.machine.stopping && !w.machine.allReady() {
		t.Fatalf("left alone, not all become ready: %v", w.machine.states)
	}
	w.do(t, w.machine.stop())
	for range w.running {
		if child, ok := pick(t, w.asked); ok {
			w.end(t, child)
		}
	}
	if !w.machine.done() {
		t.Fatalf("the stop does not end: %v", w.machine.states)
	}
}
