package grpc

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/voltageems/voltageems-go/system/config"
)

// Bounds of what a driver process may send.
const (
	replyBytes      = 64 << 10
	replyPointBytes = 512      // more for each point of the channel
	windowBytes     = 64 << 10 // sent ahead of what is read
	headerBytes     = 16 << 10
	reasonBytes     = 200
)

// dialOptions make a connection that does as it is told: nothing is sent a second
// time, no proxy is asked, and nothing that the driver process or DNS says changes
// how it is called. Connecting anew is left to comsrv, whose pauses grow.
func dialOptions(channel *config.Channel) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: channel.Timeout,
		}),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithMaxHeaderListSize(headerBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(replyBytes + replyPointBytes*len(channel.Points))),
	}
}

// target names an address for gRPC, which is to dial it as it stands.
func target(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return address
	}
	return "passthrough:///" + address
}

// explain says in plain words why a call failed.
func (d *Driver) explain(err error) error {
	failed := status.Convert(err)
	text := clip(failed.Message())
	switch failed.Code() {
	case codes.DeadlineExceeded:
		text = fmt.Sprintf("the driver process did not answer within %v", d.channel.Timeout)
	case codes.Unavailable:
		text = "the driver process or its device cannot be reached: " + text
	case codes.ResourceExhausted:
		text = "the answer is too large or the driver process has no room: " + text
	default:
		text = fmt.Sprintf("the driver process answered %s: %s", failed.Code(), text)
	}
	return &remoteError{code: failed.Code(), text: d.channel.Address + ": " + text}
}

// remoteError is a call that failed at the driver process or on the way to it.
type remoteError struct {
	code codes.Code
	text string
}

func (e *remoteError) Error() string { return e.text }

// clip bounds a text that came from elsewhere.
func clip(text string) string {
	if len(text) > reasonBytes {
		text = strings.ToValidUTF8(text[:reasonBytes], "") + "…"
	}
	return text
}
