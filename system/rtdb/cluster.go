package rtdb

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterMark ends the scheme of a URL that names nodes of a cluster.
const clusterMark = "+cluster"

func isCluster(address string) bool {
	scheme, _, _ := strings.Cut(address, "://")
	return strings.HasSuffix(scheme, clusterMark)
}

// topologyAge is after how long the driver asks again which master holds which
// slot: a replica that took over from a master which died is found by that alone.
const topologyAge = 2 * time.Second

// clusterOptions reads redis+cluster://[user:password@]host:port[,host:port…].
// Its errors quote nothing of the text, which may hold a password.
func clusterOptions(address string) (*redis.ClusterOptions, error) {
	scheme, rest, _ := strings.Cut(address, clusterMark+"://")
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	if tail != "" && tail != "/" {
		return nil, errors.New("nothing may follow the nodes, as a cluster has no numbered databases")
	}
	at := strings.LastIndex(authority, "@") + 1
	nodes := strings.Split(authority[at:], ",")
	for i, node := range nodes {
		host, port, err := net.SplitHostPort(node)
		if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" || number == 0 {
			return nil, errors.New("node " + strconv.Itoa(i+1) + " of the cluster is not of the form host:port")
		}
	}
	// What is before the nodes is the same as for one Redis.
	first, err := redis.ParseURL(scheme + "://" + authority[:at] + nodes[0])
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	return &redis.ClusterOptions{
		Addrs: nodes, Username: first.Username, Password: first.Password, TLSConfig: first.TLSConfig,
		DialTimeout: dialTimeout, ReadTimeout: replyTimeout, WriteTimeout: replyTimeout,
		PoolSize: poolSize, ContextTimeoutEnabled: true, DialerRetries: 1, DisableIdentity: true,
		// A function goes to the master of its site, and what goes to all masters is
		// sent to each by name: the driver need not ask Redis how to route.
		DisableRoutingPolicies: true, ClusterStateReloadInterval: topologyAge,
		// How often a call is sent on to another node at once, see movingSlots.
		MaxRedirects: 3,
	}, nil
}

// How long a call waits for a slot that is being moved and how often it asks
// meanwhile. Where its context ends before, it stops a little earlier: that the
// slot moves says more than that the time was over.
const (
	movePatience = 1500 * time.Millisecond
	movePause    = 20 * time.Millisecond
	moveReserve  = 3 * movePause
)

// movingSlots carries the commands of a client over the moves of slots. Answers
// by which a node says that it did not execute a command, and why, are followed
// by the driver (MOVED and ASK) or by asking again a little later (the others of
// isMoving). Nothing else is: the driver would by itself send a command again
// after a connection broke, when nobody knows whether it was executed.
type movingSlots struct{}

// once is a command that the driver must not send again by itself. Redirections
// it follows all the same.
type once struct{ redis.Cmder }

// NoRetry is what the driver asks before it sends a command again.
func (once) NoRetry() bool { return true }

// DialHook leaves dialing as it is.
func (movingSlots) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook surrounds each single command.
func (movingSlots) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, once{command})
		until := time.Now().Add(movePatience)
		if deadline, bounded := ctx.Deadline(); bounded && deadline.Before(until.Add(moveReserve)) {
			until = deadline.Add(-moveReserve)
		}
		for isMoving(err) && time.Now().Before(until) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(movePause):
			}
			err = next(ctx, once{command})
		}
		return err
	}
}

// ProcessPipelineHook surrounds each pipeline and transaction.
func (movingSlots) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		sent := make([]redis.Cmder, len(commands))
		for i, command := range commands {
			sent[i] = once{command}
		}
		return next(ctx, sent)
	}
}

// isMoving reports whether a cluster refused a command before it was executed, or
// ended a wait in which nothing was delivered (UNBLOCKED: the stream went away). A
// function cannot answer so: what goes wrong in it has other words.
func isMoving(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	word, _, _ := strings.Cut(reply.Error(), " ")
	return slices.Contains([]string{"TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK", "UNBLOCKED"}, word)
}

// home returns the Redis that holds the keys of the site.
func (c *Client) home(ctx context.Context) (*redis.Client, error) {
	if c.cluster != nil {
		node, err := c.cluster.MasterForKey(ctx, c.namespace.Of(lifeName))
		return node, c.fail("CLUSTER SLOTS", err)
	}
	return c.redis.(*redis.Client), nil
}

// eachMaster calls ask for every master at once, and for the one Redis where
// there is no cluster. An error of its own is that the masters are not known.
func (c *Client) eachMaster(ctx context.Context, ask func(node *redis.Client)) error {
	if c.cluster == nil {
		ask(c.redis.(*redis.Client))
		return nil
	}
	return c.fail("CLUSTER SLOTS", c.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		ask(node)
		return nil
	}))
}
