// Package rtdb is the only door to Redis: the connection, one typed call for
// each function of the Lua library, and the subscriptions. A service that wants
// something of Redis wants it here.
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
	URL       string // redis://[user:password@]host:port[/db]
	Namespace ems.Namespace
	Clock     ems.Clock
	Logger    *slog.Logger
}

// Client is a connection pool to the Redis of one site. It is safe for
// concurrent use and survives Redis going away and coming back.
type Client struct {
	redis     *redis.Client
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

// Open prepares a client. It does not connect: Redis may come later.
func Open(options Options) (*Client, error) {
	silenceDriver()
	parsed, err := redis.ParseURL(options.URL)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "redis_url cannot be used: %s; write redis://[user:password@]host:port[/db], "+
			"and in a password %%25 for %%, %%2F for /, %%3F for ?, %%23 for # and %%40 for @", urlFault(options.URL, err))
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
	library, err := lua.Assemble()
	if err != nil {
		return nil, err
	}
	return &Client{
		redis: redis.NewClient(parsed), namespace: options.Namespace,
		clock: options.Clock, logger: options.Logger, library: library,
	}, nil
}

// Close ends all connections.
func (c *Client) Close() error { return c.redis.Close() }

// Namespace returns the site's key prefix.
func (c *Client) Namespace() ems.Namespace { return c.namespace }

// Ping asks whether Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.fail("PING", c.redis.Ping(ctx).Err())
}

// call runs one library function. KEYS[1] is the namespace and name; a function
// never gets more than this one key.
func (c *Client) call(ctx context.Context, function, name string, args ...any) *redis.Cmd {
	return c.redis.FCall(ctx, function, []string{c.namespace.Of(name)}, args...)
}

// texts runs a function that replies with a list of strings.
func (c *Client) texts(ctx context.Context, function, name string, args ...any) ([]string, error) {
	reply, err := c.call(ctx, function, name, args...).StringSlice()
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
