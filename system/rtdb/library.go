package rtdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/lua"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Library returns the library that this binary was built with.
func (c *Client) Library() *lua.Library { return c.library }

// Load puts this binary's library into Redis, on a cluster into every master, in
// place of any other version. It is atomic for each and may run while services
// call functions.
func (c *Client) Load(ctx context.Context) error {
	_, err := c.ask(ctx, func(node *redis.Client) (string, error) {
		return "", c.fail("FUNCTION LOAD", node.FunctionLoadReplace(ctx, c.library.Code).Err())
	})
	return err
}

// Verify asks Redis which library it holds and refuses one that this binary
// cannot work with: another major version, or an older minor one.
func (c *Client) Verify(ctx context.Context) error {
	_, err := c.CheckFunctions(ctx)
	return err
}

// CheckRedis is the health check of the connection: on a cluster, to every
// master.
func (c *Client) CheckRedis(ctx context.Context) (string, error) {
	return c.ask(ctx, func(node *redis.Client) (string, error) {
		info, err := c.serverInfo(ctx, node)
		return "redis " + info["redis_version"], err
	})
}

// CheckFunctions is the health check of the library: on a cluster, that of every
// master, because a slot may move to any of them.
func (c *Client) CheckFunctions(ctx context.Context) (string, error) {
	return c.ask(ctx, func(node *redis.Client) (string, error) { return c.loaded(ctx, node) })
}

// Node is what one Redis says of itself.
type Node struct {
	Address string // host:port
	Server  string // for example "redis 7.0.15"
	Library string // for example "library 2.0:1f4c07a9d3be"
	Err     error  // why it cannot serve this binary
}

// Nodes asks the one Redis, or every master of the cluster, in the order of
// their addresses. An error is that the masters are not known.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var mu sync.Mutex
	var nodes []Node
	err := c.eachMaster(ctx, func(client *redis.Client) {
		node := Node{Address: client.Options().Addr}
		info, err := c.serverInfo(ctx, client)
		if err == nil {
			node.Server = "redis " + info["redis_version"]
			node.Library, err = c.loaded(ctx, client)
		}
		node.Err = err
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
	})
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Address, b.Address) })
	return nodes, err
}

// ask puts one question to every master and returns the different answers, with
// commas between. The error names each master that has one.
func (c *Client) ask(ctx context.Context, question func(node *redis.Client) (string, error)) (string, error) {
	var mu sync.Mutex
	var answers, faults []string
	var fault error // one of them
	err := c.eachMaster(ctx, func(node *redis.Client) {
		answer, err := question(node)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fault = err
			faults = append(faults, "master "+node.Options().Addr+": "+err.Error())
			return
		}
		answers = append(answers, answer)
	})
	switch {
	case err != nil:
		return "", err
	case fault != nil && (c.cluster == nil || ctx.Err() != nil):
		return "", fault
	case fault != nil:
		slices.Sort(faults)
		return "", ems.Errorf(ems.CodeOf(fault), "%s", strings.Join(faults, "; "))
	}
	slices.Sort(answers)
	return strings.Join(slices.Compact(answers), ", "), nil
}

// serverInfo reads what a Redis tells of itself, and refuses one that this
// client cannot work with.
func (c *Client) serverInfo(ctx context.Context, node *redis.Client) (map[string]string, error) {
	text, err := node.Info(ctx, "server").Result()
	if err != nil {
		return nil, c.fail("INFO", err)
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	version := info["redis_version"]
	if major, _, _ := strings.Cut(version, "."); integer(major) < 7 {
		return nil, ems.Errorf(ems.CodeUnavailable, "redis %s is too old: functions need redis 7 or newer", version)
	}
	if c.cluster == nil && info["redis_mode"] == "cluster" {
		return nil, oneOfCluster()
	}
	return info, nil
}

// oneOfCluster is the error of a single Redis that is none.
func oneOfCluster() error {
	return ems.Errorf(ems.CodeUnavailable, "redis is one node of a cluster: write redis+cluster://host:port in redis_url (VOLTAGE_REDIS_URL), and give the site a namespace")
}

// loaded returns the library that a Redis holds, for example "library
// 2.0:1f4c07a9d3be", and refuses one that does not fit.
func (c *Client) loaded(ctx context.Context, node *redis.Client) (string, error) {
	found, err := node.FCall(ctx, "voltage_version", nil).Text()
	if err != nil {
		return "", c.fail("voltage_version", err)
	}
	version, hash, _ := strings.Cut(found, ":")
	if hash == c.library.Hash {
		return "library " + found, nil
	}
	err = checkVersion(version, lua.Version)
	return fmt.Sprintf("library %s, which fits the %s:%s of this binary", found, lua.Version, c.library.Hash), err
}

// checkVersion refuses a library that is of another major version than the one
// needed, or has fewer functions.
func checkVersion(loaded, needed string) error {
	loadedMajor, loadedMinor, _ := strings.Cut(loaded, ".")
	neededMajor, neededMinor, _ := strings.Cut(needed, ".")
	switch {
	case integer(loadedMajor) > integer(neededMajor):
		return ems.Errorf(ems.CodeUnavailable, "redis holds library version %s of a newer release and this binary needs %s: run a newer release of this service, "+
			"or go back with `voltage functions load` of this release", loaded, needed)
	case integer(loadedMajor) < integer(neededMajor), integer(loadedMinor) < integer(neededMinor):
		return ems.Errorf(ems.CodeUnavailable, "redis holds library version %s and this binary needs %s: run `voltage functions load` of this release", loaded, needed)
	}
	return nil
}

// watchPeriod is how often Watch looks whether Redis is still the same.
const watchPeriod = 500 * time.Millisecond

// Watch calls ready each time a usable Redis has newly appeared: at the start,
// after it restarted or was emptied, after the library was loaded anew, after
// another master of the cluster took the site over, and again after ready failed.
// That is the moment for a service to store its part of the site and to refresh
// what it knows. Watch returns when ctx ends.
func (c *Client) Watch(ctx context.Context, ready func(ctx context.Context) error) {
	timer := c.clock.NewTimer(0)
	defer timer.Stop()
	known, lastFault := "", ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		fault := "redis is not usable; trying again"
		epoch, err := c.epoch(ctx)
		if err != nil && !isLate(err) {
			known = ""
		} else if err == nil && epoch != known {
			fault = "the site cannot be stored in redis; trying again"
			if err = ready(ctx); err == nil {
				known = epoch
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && fault+err.Error() != lastFault:
			lastFault = fault + err.Error()
			c.logger.Warn(fault, "error", err)
		case err == nil && lastFault != "":
			lastFault = ""
			c.logger.Info("redis is usable again, and the site is stored")
		}
		timer.Reset(watchPeriod)
	}
}

// isLate reports whether Redis has not answered in time, which tells nothing of
// what it holds.
func isLate(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() || errors.Is(err, redis.ErrPoolTimeout)
}

// lifeName is the mark among the keys of the site. It is set by epoch, so before
// any ready of Watch and again soon after the keys were lost; fcall tells what
// it does on a cluster. Should it be missing there, calls are still refused while
// the slot moves, because the source then sends both keys to the target and the
// target lacks the other.
const lifeName = "voltage:life"

// epoch names the present life of the Redis that holds the site: its run id, the
// library it holds, and a mark among the keys of the site, which goes when the
// keys are lost.
func (c *Client) epoch(ctx context.Context) (string, error) {
	node, err := c.home(ctx)
	if err != nil {
		return "", err
	}
	info, err := c.serverInfo(ctx, node)
	if err != nil {
		return "", err
	}
	functions, err := c.loaded(ctx, node)
	if err != nil {
		return "", err
	}
	mark := c.namespace.Of(lifeName)
	life, err := c.redis.Get(ctx, mark).Result()
	if isNil(err) {
		if err := c.redis.SetNX(ctx, mark, rand.Text(), 0).Err(); err != nil {
			return "", c.fail("SET", err)
		}
		life, err = c.redis.Get(ctx, mark).Result()
	}
	if err != nil {
		return "", c.fail("GET", err)
	}
	return info["run_id"] + " " + functions + " " + life, nil
}
