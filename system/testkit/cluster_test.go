package testkit

import (
	"fmt"
	"strings"
	"testing"
)

func TestClusterMovesASlotWithItsKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster := Cluster(t)
	slot, err := cluster.Slot(ctx, "{a}:x")
	if err != nil {
		t.Fatal(err)
	}
	from, err := cluster.Owner(ctx, slot)
	if err != nil {
		t.Fatal(err)
	}
	for i, client := range cluster.Clients {
		if got := client.ConfigGet(ctx, "hash-max-listpack-entries").Val()["hash-max-listpack-entries"]; got != "64" {
			t.Errorf("node %d has hash-max-listpack-entries %s", i, got)
		}
		if err := client.Get(ctx, "{a}:x").Err(); (i == from) == strings.HasPrefix(err.Error(), "MOVED ") {
			t.Errorf("node %d, where node %d holds the slot: %v", i, from, err)
		}
	}
	for i := range 250 {
		if err := cluster.Clients[from].Set(ctx, fmt.Sprintf("{a}:%d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	to := (from + 1) % len(cluster.Clients)
	move, err := cluster.BeginMove(ctx, slot, to)
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := move.Keys(ctx, 10); moved != 10 || err != nil {
		t.Errorf("moved %d, %v", moved, err)
	}
	if count := cluster.Clients[to].ClusterCountKeysInSlot(ctx, slot).Val(); count != 10 {
		t.Errorf("%d keys have arrived, want 10", count)
	}
	if err := move.End(ctx); err != nil {
		t.Fatal(err)
	}
	if owner, err := cluster.Owner(ctx, slot); owner != to || err != nil {
		t.Errorf("node %d holds the slot, want %d (%v)", owner, to, err)
	}
	for i, want := range []int64{250, 0} {
		if count := cluster.Clients[(to+i)%len(cluster.Clients)].ClusterCountKeysInSlot(ctx, slot).Val(); count != want {
			t.Errorf("node %d has %d keys, want %d", (to+i)%len(cluster.Clients), count, want)
		}
	}
	if _, err := cluster.BeginMove(ctx, slot, to); err == nil {
		t.Error("a move to where the slot is was begun")
	}
}
