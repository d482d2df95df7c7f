// Package rtdb is the only door to Redis: the connection to one Redis or to a
// Redis Cluster, one typed call for each function of the Lua library, and the
// subscriptions. A service that wants something of Redis wants it here.
package rtdb

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/lua"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Options say which Redis, which site, and with what.
type Options struct {
	// URL is redis://[user:password@]host:port[/db], or for a Redis Cluster
	// redis+cluster://[user:password@]host:port[,host:port…] with some of its
	// nodes; rediss in place of redis asks for TLS.
	URL string
	// Namespace is the prefix of the site. On a cluster there is no site without:
	// its braces keep all keys of the site on one master.
	Namespace ems.Namespace
	// OnlyFunctions opens a client that loads and verifies the library and calls
	// nothing else of it. Libraries belong to no site, so it needs no namespace.
	OnlyFunctions bool
	Clock         ems.Clock
	Logger        *slog.Logger
}

// Client is a connection pool to the Redis of one site. It is safe for
// concurrent use and survives Redis going away and coming back.
type Client struct {
	redis     redis.UniversalClient
	cluster   *redis.ClusterClient // the same as redis; nil where that is one Redis
	namespace ems.Namespace
	clock     ems.Clock
	logger    *slog.Logger
	library   *lua.Library
}

// Bounds of one exchange with Redis. A call of the library takes well under a
// millisecond; what takes seconds is broken.
const (
	dialTimeout  = 2 * time.Second
	replyTimeout = 3 * time.Second
	poolSize     = 16
)

// silenceDriver turns off the driver's own log, which is one for the whole
// process and writes unstructured lines: every error it tells comes back to the
// caller as well.
var silenceDriver = sync.OnceFunc(func() { redis.SetLogger(noLog{}) }) //nolint:gochecknoglobals // guards the driver's global

type noLog struct{}

func (noLog) Printf(context.Context, string, ...any) {}

// urlForms says how a URL is written.
const urlForms = "write redis://[user:password@]host:port[/db], for a cluster redis+cluster://[user:password@]host:port[,host:port…], " +
	"and in a password %25 for %, %2F for /, %3F for ?, %23 for # and %40 for @"

// Open prepares a client. It does not connect: Redis may come later. INVALID
// when the URL cannot be used, or names a cluster and the site has no namespace.
func Open(options Options) (*Client, error) {
	silenceDriver()
	library, err := lua.Assemble()
	if err != nil {
		return nil, err
	}
	c := &Client{namespace: options.Namespace, clock: options.Clock, logger: options.Logger, library: library}
	if isCluster(options.URL) {
		if options.Namespace == "" && !options.OnlyFunctions {
			return nil, ems.Errorf(ems.CodeInvalid, "redis_url names a cluster, which spreads the keys of a site without a namespace over all masters: "+
				"write namespace: NAME under site: in site.yaml, or use a single Redis (redis://host:port)")
		}
		parsed, err := clusterOptions(options.URL)
		if err != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "redis_url cannot be used: %w; %s", err, urlForms)
		}
		c.cluster = redis.NewClusterClient(parsed)
		c.cluster.AddHook(movingSlots{})
		c.redis = c.cluster
		return c, nil
	}
	parsed, err := redis.ParseURL(options.URL)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "redis_url cannot be used: %s; %s", urlFault(options.URL, err), urlForms)
	}
	parsed.DialTimeout, parsed.ReadTimeout, parsed.WriteTimeout = dialTimeout, replyTimeout, replyTimeout
	parsed.PoolSize = poolSize
	parsed.ContextTimeoutEnabled = true
	// A call that may have been executed is never sent again by itself: raising
	// an alarm or queueing a command twice is worse than telling the caller.
	parsed.MaxRetries = -1
	// Nor does it dial again by itself, for half a second while Redis refuses:
	// a service that polls must not wait that long to hear that Redis is away.
	parsed.DialerRetries = 1
	parsed.DisableIdentity = true
	c.redis = redis.NewClient(parsed)
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() error { return c.redis.Close() }

// Namespace returns the site's key prefix.
func (c *Client) Namespace() ems.Namespace { return c.namespace }

// Ping asks whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.fail("PING", c.redis.Ping(ctx).Err())
}

// fcall is the one place from which library functions are called. KEYS[1] is the
// namespace and name. It is no stored key, and where a cluster is about to move
// the slot of the site, that is fatal: Redis would send the call to the target,
// which would run it on those keys of the site that have arrived. Two different
// keys of which one is missing are refused by both sides until the slot is handed
// over, so that on a cluster the mark of the site goes along as KEYS[2].
func (c *Client) fcall(ctx context.Context, on redis.Cmdable, function, name string, args ...any) *redis.Cmd {
	keys := []string{c.namespace.Of(name)}
	if c.cluster != nil {
		keys = append(keys, c.namespace.Of(lifeName))
	}
	return on.FCall(ctx, function, keys, args...)
}

// call runs one library function.
func (c *Client) call(ctx context.Context, function, name string, args ...any) *redis.Cmd {
	return c.fcall(ctx, c.redis, function, name, args...)
}

// libraryCall is the name and the arguments of one call.
type libraryCall struct {
	name string
	args []any
}

// callAll runs a function several times, in order. On a single Redis the calls
// travel together. On a cluster they go one after another: when the slot moves,
// one that is refused would be overtaken by those behind it.
func (c *Client) callAll(ctx context.Context, function string, calls []libraryCall) error {
	if c.cluster != nil {
		for _, call := range calls {
			if err := c.call(ctx, function, call.name, call.args...).Err(); err != nil {
				return c.fail(function, err)
			}
		}
		return nil
	}
	if len(calls) == 0 {
		return nil
	}
	pipeline := c.redis.Pipeline()
	for _, call := range calls {
		c.fcall(ctx, pipeline, function, call.name, call.args...)
	}
	_, err := pipeline.Exec(ctx)
	return c.fail(function, err)
}

// texts runs a function that replies with a list of strings.
func (c *Client) texts(ctx context.Context, function, name string, args ...any) ([]string, error) {
	reply, err := c.call(ctx, function, name, args...).StringSlice()
	return reply, c.fail(function, err)
}

// lists runs a function that replies with a list of anything.
func (c *Client) lists(ctx context.Context, function, name string, args ...any) ([]any, error) {
	reply, err := c.call(ctx, function, name, args...).Slice()
	return reply, c.fail(function, err)
}

// text runs a function that replies with one string.
func (c *Client) text(ctx context.Context, function, name string, args ...any) (string, error) {
	reply, err := c.call(ctx, function, name, args...).Text()
	return reply, c.fail(function, err)
}

// now is the time that every function is told.
func (c *Client) now() int64 { return c.clock.Now().UnixMilli() }

// fail turns what Redis or the network said into a coded error that names the
// call.
func (c *Client) fail(call string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		return c.replyError(call, reply)
	}
	var network *net.OpError
	if errors.As(err, &network) && network.Op == "dial" {
		return ems.Errorf(ems.CodeUnavailable, "redis did not answer %s: %w; is it running, and is redis_url (VOLTAGE_REDIS_URL) right?", call, err)
	}
	return ems.Errorf(ems.CodeUnavailable, "redis did not answer %s: %w", call, err)
}

// urlFault returns what is wrong with a URL. The driver's words quote the place:
// where the text cannot be taken apart, or has an '@' outside of its own place,
// that may be a part of the password, and is not told.
func urlFault(text string, err error) string {
	parsed, parseErr := url.Parse(text)
	if parseErr != nil || strings.Contains(parsed.Opaque+parsed.Path+parsed.RawQuery+parsed.Fragment, "@") {
		return "it is not a URL"
	}
	return err.Error()
}

// about puts the name of what a call was for in front of its error.
func about(what, id string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return ems.Errorf(ems.CodeOf(err), "%s %s: %w", what, id, err)
}
