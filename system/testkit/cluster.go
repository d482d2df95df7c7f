package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// Shape of a test cluster, and bounds of its work.
const (
	clusterMasters = 3
	clusterSlots   = 16384
	clusterWithin  = 60 * time.Second // until every node sees the whole cluster
	migrateTimeout = 5 * time.Second
	flushChannel   = "testkit:flush"
)

// RedisCluster is an empty Redis Cluster of three masters, which belongs to one
// test until it ends. Its nodes are servers of their own, to be stopped and
// started.
type RedisCluster struct {
	URL     string // redis+cluster://host:port,host:port,host:port
	Masters []*RedisServer
	Clients []*redis.Client // one for each master, which follow no redirection

	ids []string
	// Slots are on their way at the same time, and steps are taken one at a time. A
	// node waits for the other while it migrates keys, and two that migrate to each
	// other would both wait in vain. And two masters that take a slot over without
	// knowing of each other call it by the same epoch, which ends in a slot that
	// nobody holds.
	step      sync.Mutex
	listeners []*redis.PubSub // to flushChannel, one on each master
	flushes   int
}

// Cluster returns an empty cluster, whose masters hold a third of the slots each
// and all know it. It needs a local program: a shared Redis is no cluster, and
// the nodes in containers would not reach each other by the addresses that they
// tell.
func Cluster(t testing.TB) *RedisCluster {
	t.Helper()
	binary, err := managed.FindRedis(context.Background())
	if err != nil {
		t.Fatalf("this test needs a Redis Cluster, which it starts from a local program: type make setup: %v", err)
	}
	c := &RedisCluster{}
	var addresses []string
	for i := range clusterMasters {
		bus := FreePort(t)
		server := ownRedis(t, &managed.Redis{Binary: binary, Port: FreePort(t), BusPort: bus})
		client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
		listener := client.Subscribe(t.Context(), flushChannel)
		t.Cleanup(func() { _, _ = listener.Close(), client.Close() })
		c.listeners = append(c.listeners, listener)
		c.Masters, c.Clients = append(c.Masters, server), append(c.Clients, client)
		addresses = append(addresses, server.Addr)
		if err := c.join(t.Context(), i, bus); err != nil {
			t.Fatalf("the cluster cannot be made: %v", err)
		}
	}
	c.URL = "redis+cluster://" + strings.Join(addresses, ",")
	Eventually(t, clusterWithin, func() error { return c.check(t.Context()) }, "every node sees the whole cluster")
	return c
}

// join gives a new master its slots and makes it known to the first one.
func (c *RedisCluster) join(ctx context.Context, node, bus int) error {
	client := c.Clients[node]
	id, err := client.Do(ctx, "CLUSTER", "MYID").Text()
	if err != nil {
		return err
	}
	c.ids = append(c.ids, id)
	first, last := node*clusterSlots/clusterMasters, (node+1)*clusterSlots/clusterMasters-1
	host, port, err := net.SplitHostPort(c.Masters[node].Addr)
	return errors.Join(err,
		// Each master begins with an epoch of its own, as redis-cli does it, so
		// that none has to be agreed upon.
		client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", node+1).Err(),
		client.ClusterAddSlotsRange(ctx, first, last).Err(),
		c.Clients[0].Do(ctx, "CLUSTER", "MEET", host, port, bus).Err(),
	)
}

// check returns what a node lacks of seeing the whole cluster.
func (c *RedisCluster) check(ctx context.Context) error {
	for i, client := range c.Clients {
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		for _, want := range []string{"cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", clusterMasters), fmt.Sprintf("cluster_size:%d", clusterMasters)} {
			if !strings.Contains(info, want+"\r\n") {
				return ems.Errorf(ems.CodeUnavailable, "node %d has no %s:\n%s", i, want, info)
			}
		}
	}
	return nil
}

// Slot returns the slot of a key.
func (c *RedisCluster) Slot(ctx context.Context, key string) (int, error) {
	slot, err := c.Clients[0].ClusterKeySlot(ctx, key).Result()
	return int(slot), err
}

// Owner returns which master says that it holds a slot.
func (c *RedisCluster) Owner(ctx context.Context, slot int) (int, error) {
	for i, client := range c.Clients {
		shards, err := client.ClusterShards(ctx).Result()
		if err != nil {
			return 0, err
		}
		for _, shard := range shards {
			holds := func(one redis.SlotRange) bool { return one.Start <= int64(slot) && int64(slot) <= one.End }
			if slices.ContainsFunc(shard.Slots, holds) && len(shard.Nodes) > 0 && shard.Nodes[0].ID == c.ids[i] {
				return i, nil
			}
		}
	}
	return 0, ems.Errorf(ems.CodeNotFound, "no master holds slot %d", slot)
}

// Move is a slot on its way from one master to another, step by step as
// redis-cli --cluster reshard does it.
type Move struct {
	cluster        *RedisCluster
	slot, from, to int
}

// BeginMove tells both masters of the move. Keys stay where they are.
func (c *RedisCluster) BeginMove(ctx context.Context, slot, to int) (*Move, error) {
	from, err := c.Owner(ctx, slot)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, ems.Errorf(ems.CodeInvalid, "master %d holds slot %d already", to, slot)
	}
	if err := c.Clients[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from]).Err(); err != nil {
		return nil, err
	}
	return &Move{cluster: c, slot: slot, from: from, to: to}, c.Clients[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to]).Err()
}

// Keys moves up to count keys and returns how many there were.
func (m *Move) Keys(ctx context.Context, count int) (int, error) {
	source := m.cluster.Clients[m.from]
	keys, err := source.ClusterGetKeysInSlot(ctx, m.slot, count).Result()
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	return len(keys), m.Key(ctx, keys...)
}

// Key moves the keys named.
func (m *Move) Key(ctx context.Context, keys ...string) error {
	host, port, err := net.SplitHostPort(m.cluster.Masters[m.to].Addr)
	if err != nil {
		return err
	}
	command := []any{"MIGRATE", host, port, "", 0, migrateTimeout.Milliseconds(), "KEYS"}
	for _, key := range keys {
		command = append(command, key)
	}
	m.cluster.step.Lock()
	defer m.cluster.step.Unlock()
	return m.cluster.Clients[m.from].Do(ctx, command...).Err()
}

// End moves the keys that are left, hands the slot over and tells every master.
func (m *Move) End(ctx context.Context) error {
	for {
		moved, err := m.Keys(ctx, 100)
		if err != nil {
			return err
		}
		if moved == 0 {
			break
		}
	}
	m.cluster.step.Lock()
	defer m.cluster.step.Unlock()
	if err := m.cluster.settle(ctx); err != nil {
		return err
	}
	others := []int{m.to, m.from} // the target first, so that the slot never lacks an owner
	for i := range m.cluster.Clients {
		if i != m.to && i != m.from {
			others = append(others, i)
		}
	}
	for _, i := range others {
		if err := m.cluster.Clients[i].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", m.cluster.ids[m.to]).Err(); err != nil {
			return err
		}
	}
	return nil
}

// settle returns when all nodes know the same epochs and what they had sent to each
// other has arrived. A message that takes longer than it takes to hand over a slot
// twice makes Redis 7.0 believe in the owner before the last, and the nodes do take
// their time: a small message waits until the one before is acknowledged.
func (c *RedisCluster) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clusterWithin)
	defer cancel()
	for {
		settled, err := c.isQuiet(ctx)
		if err != nil {
			return err
		}
		if settled {
			return c.flush(ctx)
		}
		time.Sleep(time.Millisecond)
	}
}

// isQuiet reports whether all nodes know the same epochs and none waits for the
// answer to a ping.
func (c *RedisCluster) isQuiet(ctx context.Context) (bool, error) {
	quiet, seen := true, map[string]bool{}
	for _, client := range c.Clients {
		nodes, err := client.ClusterNodes(ctx).Result()
		if err != nil {
			return false, err
		}
		var epochs []string
		for line := range strings.Lines(nodes) {
			// id, address, flags, master, ping sent, pong received, epoch, …
			fields := strings.Fields(line)
			quiet = quiet && fields[4] == "0"
			epochs = append(epochs, fields[0]+" "+fields[6])
		}
		slices.Sort(epochs)
		seen[strings.Join(epochs, ",")] = true
	}
	return quiet && len(seen) == 1, nil
}

// flush publishes through every node and waits until every node has told it: a
// node's messages arrive in the order in which it sent them.
func (c *RedisCluster) flush(ctx context.Context) error {
	c.flushes++
	for i, client := range c.Clients {
		if err := client.Publish(ctx, flushChannel, fmt.Sprintf("%d by %d", c.flushes, i)).Err(); err != nil {
			return err
		}
	}
	for _, listener := range c.listeners {
		for heard := 0; heard < len(c.Clients); {
			message, err := listener.ReceiveMessage(ctx)
			if err != nil {
				return err
			}
			if strings.HasPrefix(message.Payload, fmt.Sprintf("%d by ", c.flushes)) {
				heard++
			}
		}
	}
	return nil
}

// MoveSlot moves a slot with all its keys.
func (c *RedisCluster) MoveSlot(ctx context.Context, slot, to int) error {
	move, err := c.BeginMove(ctx, slot, to)
	if err != nil {
		return err
	}
	return move.End(ctx)
}
