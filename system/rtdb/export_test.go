package rtdb

import (
	"context"

	"github.com/voltageems/voltageems-go/system/ems"
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

// SendError is what the caller of a command is told that could not be sent.
func SendError(command ems.Command, err error) error { return sendError(command, err) }
