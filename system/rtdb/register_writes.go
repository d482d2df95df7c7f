package rtdb

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// maxRegisterWrites is about how many notes of register writes are kept of a
// channel.
const maxRegisterWrites = 10_000

// NoteRegisterWrite keeps what somebody writes to registers of a channel.
func (c *Client) NoteRegisterWrite(ctx context.Context, channel ems.ChannelID, write ems.RegisterWrite) error {
	text, err := json.Marshal(write)
	if err != nil {
		return ems.Errorf(ems.CodeInternal, "a register write cannot be kept: %w", err)
	}
	return c.fail("XADD", c.redis.XAdd(ctx, &redis.XAddArgs{
		Stream: c.namespace.RegisterWrites(channel), MaxLen: maxRegisterWrites, Approx: true, Values: []any{"write", text},
	}).Err())
}

// RegisterWrites returns a page of what was noted, newest first. after is the
// cursor of the page before, "" for the first one; next is that of the following
// page, "" at the end.
func (c *Client) RegisterWrites(ctx context.Context, channel ems.ChannelID, after string, limit int) (writes []ems.RegisterWrite, next string, err error) {
	end := "+"
	if after != "" {
		if strings.Trim(after, "0123456789-") != "" {
			return nil, "", ems.Errorf(ems.CodeInvalid, "after %q is not the next of a page", after)
		}
		end = "(" + after
	}
	entries, err := c.redis.XRevRangeN(ctx, c.namespace.RegisterWrites(channel), end, "-", int64(limit)+1).Result()
	if err != nil {
		if strings.Contains(err.Error(), "Invalid stream ID") {
			return nil, "", ems.Errorf(ems.CodeInvalid, "after %q is not the next of a page", after)
		}
		return nil, "", c.fail("XREVRANGE", err)
	}
	for i, entry := range entries {
		if i == limit {
			return writes, entries[i-1].ID, nil
		}
		text, _ := entry.Values["write"].(string)
		var write ems.RegisterWrite
		if err := json.Unmarshal([]byte(text), &write); err != nil {
			c.logger.Error("a register write cannot be read", "channel", channel, "entry", entry.ID, "error", err)
			continue
		}
		writes = append(writes, write)
	}
	return writes, "", nil
}
