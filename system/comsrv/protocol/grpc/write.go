package grpc

import (
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
)

// WritePoint implements protocol.Driver.
func (d *Driver) WritePoint(ctx context.Context, write protocol.Write) (protocol.Written, error) {
	if math.IsNaN(write.Raw) || math.IsInf(write.Raw, 0) {
		return protocol.Written{}, &protocol.WriteError{Cause: fmt.Errorf("%v is not a finite number", write.Raw)}
	}
	door := &door{before: write.Before}
	var answer *driverpb.WritePointResponse
	err := d.call(ctx, func(ctx context.Context) (err error) {
		answer, err = d.remote.WritePoint(ctx, &driverpb.WritePointRequest{
			Session: d.session, Point: uint32(write.Point), Raw: write.Raw,
		}, grpc.PerRPCCredentials(door))
		return err
	})
	if err != nil {
		return protocol.Written{}, door.fault(err)
	}
	return writtenOf(answer)
}

// door lets a write leave for the driver process once. gRPC asks for credentials
// when it has a connection and the next thing is that the request is put on it,
// and asks again before it would send a request a second time, as it does by
// itself where it takes the first for lost.
type door struct {
	before  func() error
	opened  bool
	refusal error // of before
}

var errAgain = errors.New("a write is not sent a second time")

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (d *door) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if d.opened {
		return nil, errAgain
	}
	if d.before != nil && d.refusal == nil {
		d.refusal = d.before()
	}
	if d.refusal != nil {
		return nil, d.refusal
	}
	d.opened = true
	return nil, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (d *door) RequireTransportSecurity() bool { return false }

// fault tells how far a write came that ended with an error.
func (d *door) fault(err error) error {
	var remote *remoteError
	switch {
	case d.refusal != nil:
		return &protocol.WriteError{Fault: protocol.NotSent, Cause: d.refusal}
	case !d.opened:
		return &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	case errors.As(err, &remote) && (remote.code == codes.Unimplemented || remote.code == codes.InvalidArgument || remote.code == codes.FailedPrecondition):
		return &protocol.WriteError{Fault: protocol.Refused, Cause: err}
	default:
		return &protocol.WriteError{Fault: protocol.Unanswered, Cause: err}
	}
}

// writtenOf is what the driver process says of a write.
func writtenOf(answer *driverpb.WritePointResponse) (protocol.Written, error) {
	reason := clip(answer.GetReason())
	failed := func(fault protocol.WriteFault) (protocol.Written, error) {
		if reason == "" {
			reason = "the driver process does not say why"
		}
		return protocol.Written{}, &protocol.WriteError{Fault: fault, Cause: errors.New(reason)}
	}
	switch answer.GetOutcome() {
	case driverpb.WriteOutcome_WRITE_OUTCOME_WRITTEN:
	case driverpb.WriteOutcome_WRITE_OUTCOME_NOT_SENT:
		return failed(protocol.NotSent)
	case driverpb.WriteOutcome_WRITE_OUTCOME_REFUSED:
		return failed(protocol.Refused)
	default:
		return failed(protocol.Unanswered)
	}
	written := protocol.Written{Sent: answer.GetSent(), ReadBack: answer.ReadBack, Reason: reason}
	if math.IsNaN(written.Sent) || math.IsInf(written.Sent, 0) {
		reason = fmt.Sprintf("the driver process says that it wrote %v", written.Sent)
		return failed(protocol.Unanswered)
	}
	if back := written.ReadBack; back != nil && (math.IsNaN(*back) || math.IsInf(*back, 0)) {
		written.ReadBack, written.Reason = nil, fmt.Sprintf("it was read back as %v", *back)
	}
	if written.ReadBack == nil && written.Reason == "" {
		written.Reason = "the driver process does not say why"
	}
	return written, nil
}
