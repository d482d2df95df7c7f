package rtdb

import (
	"context"
	"strconv"

	"github.com/voltageems/voltageems-go/system/ems"
)

// MadeChannel is a channel that was made through the API: the text that says what
// it is. Only comsrv looks into it.
type MadeChannel struct {
	ID       ems.ChannelID
	Document string
}

// StoreMade keeps the document of a channel in place of the one before; what
// Switch said of that is forgotten. FULL when there are too many.
func (c *Client) StoreMade(ctx context.Context, made MadeChannel) error {
	return c.fail("comsrv_made_store", c.call(ctx, "comsrv_made_store", channelName(made.ID), made.Document).Err())
}

// DeleteMade forgets the document of a channel.
func (c *Client) DeleteMade(ctx context.Context, channel ems.ChannelID) error {
	return c.fail("comsrv_made_delete", c.call(ctx, "comsrv_made_delete", channelName(channel)).Err())
}

// madePage is how many documents one call asks for.
const madePage = 100

// MadeChannels returns all channels that were made through the API, in the order
// of their numbers.
func (c *Client) MadeChannels(ctx context.Context) ([]MadeChannel, error) {
	var all []MadeChannel
	for after := ems.ChannelID(0); ; {
		page, err := c.madeAfter(ctx, after, madePage)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// MadeChannel returns one of them, and whether there is one.
func (c *Client) MadeChannel(ctx context.Context, channel ems.ChannelID) (MadeChannel, bool, error) {
	page, err := c.madeAfter(ctx, channel-1, 1)
	if err != nil || len(page) == 0 || page[0].ID != channel {
		return MadeChannel{}, false, err
	}
	return page[0], true, nil
}

func (c *Client) madeAfter(ctx context.Context, after ems.ChannelID, count int) ([]MadeChannel, error) {
	texts, err := c.texts(ctx, "comsrv_made_list", "all", channelName(after), strconv.Itoa(count))
	if err != nil {
		return nil, err
	}
	var page []MadeChannel
	for i := 0; i+1 < len(texts); i += 2 {
		channel, err := ems.ParseChannelID(texts[i])
		if err != nil {
			return nil, err
		}
		page = append(page, MadeChannel{ID: channel, Document: texts[i+1]})
	}
	return page, nil
}

// Switch keeps that a channel is started or stopped by hand; nil is as it says
// itself.
func (c *Client) Switch(ctx context.Context, channel ems.ChannelID, started *bool) error {
	text := ""
	if started != nil {
		text = map[bool]string{true: "1", false: "0"}[*started]
	}
	return c.fail("comsrv_switch", c.call(ctx, "comsrv_switch", channelName(channel), text).Err())
}

// Switches returns the channels that are started or stopped by hand.
func (c *Client) Switches(ctx context.Context) (map[ems.ChannelID]bool, error) {
	texts, err := c.texts(ctx, "comsrv_switches", "all")
	if err != nil {
		return nil, err
	}
	switches := map[ems.ChannelID]bool{}
	for i := 0; i+1 < len(texts); i += 2 {
		channel, err := ems.ParseChannelID(texts[i])
		if err != nil {
			return nil, err
		}
		switches[channel] = texts[i+1] == "1"
	}
	return switches, nil
}

// DropPoints removes the values of points that a channel no longer has.
func (c *Client) DropPoints(ctx context.Context, channel ems.ChannelID, kind ems.PointType, points []ems.PointID) error {
	var calls []libraryCall
	for len(points) > 0 {
		part := points[:min(len(points), MaxBatch)]
		points = points[len(part):]
		args := []any{kind.String()}
		for _, point := range part {
			args = append(args, strconv.FormatUint(uint64(point), 10))
		}
		calls = append(calls, libraryCall{name: channelName(channel), args: args})
	}
	return c.callAll(ctx, "comsrv_drop", calls)
}

// CommandsWaiting returns how many commands of a channel have not ended.
func (c *Client) CommandsWaiting(ctx context.Context, channel ems.ChannelID) (int64, error) {
	count, err := c.redis.XLen(ctx, c.namespace.Commands(channel)).Result()
	return count, c.fail("XLEN", err)
}
