package rtdb

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
)

// CheckVersion is the judgement of a library's version.
func CheckVersion(loaded, needed string) error { return checkVersion(loaded, needed) }

// Call runs a library function the way that every typed call does.
func (c *Client) Call(ctx context.Context, function, name string, args ...any) (any, error) {
	reply, err := c.call(ctx, function, name, args...).Result()
	return reply, c.fail(function, err)
}

// Home returns the address of the Redis on which the client looks for its site.
func (c *Client) Home(ctx context.Context) (string, error) {
	node, err := c.home(ctx)
	if err != nil {
		return "", err
	}
	return node.Options().Addr, nil
}

// OnCall tells a test of every library function that is called.
func (c *Client) OnCall(told func(function string)) { c.redis.AddHook(onCall(told)) }

type onCall func(function string)

func (o onCall) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (o onCall) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		if command.Name() == "fcall" {
			o(command.Args()[1].(string))
		}
		return next(ctx, command)
	}
}

func (o onCall) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
