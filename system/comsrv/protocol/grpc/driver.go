// Package grpc is the driver for drivers that are processes of their own, in any
// language: comsrv calls them as driverpb/driver.proto says. The folder example
// holds such a driver.
package grpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Name is what a site writes as the protocol of a channel.
const Name = config.ProtocolGRPC

// Driver serves one channel: one connection to a driver process, with a session
// that begins with each Connect.
type Driver struct {
	channel config.Channel
	logger  *slog.Logger
	options []grpc.DialOption
	groups  map[string]*group

	conn    *grpc.ClientConn // nil while there is none
	remote  driverpb.DriverClient
	session string
	sound   bool // the last call was answered
}

// closeTimeout bounds telling a driver process that its session ends.
const closeTimeout = time.Second

// errClosed is told of a driver that is not connected.
var errClosed = errors.New("the driver process is not connected")

// New is the protocol.Factory of this driver.
func New(setting protocol.Setting) (protocol.Driver, error) {
	channel := setting.Channel
	return &Driver{
		channel: channel, logger: setting.Logger, options: dialOptions(&channel), groups: groupsOf(channel.Points),
	}, nil
}

// Connect implements protocol.Driver: it begins a new session over a new
// connection.
func (d *Driver) Connect(ctx context.Context) error {
	d.hangUp()
	conn, err := grpc.NewClient(target(d.channel.Address), d.options...)
	if err != nil {
		return fmt.Errorf("%s cannot be called: %w", d.channel.Address, err)
	}
	d.conn, d.remote, d.session = conn, driverpb.NewDriverClient(conn), rand.Text()
	err = d.call(ctx, func(ctx context.Context) error {
		_, err := d.remote.Configure(ctx, d.configuration())
		return err
	})
	if err == nil {
		err = d.call(ctx, func(ctx context.Context) error {
			_, err := d.remote.Connect(ctx, &driverpb.ConnectRequest{Session: d.session})
			return err
		})
	}
	if err != nil {
		d.hangUp()
	}
	return err
}

// Close implements protocol.Driver. A driver process that does not answer is not
// told.
func (d *Driver) Close() error {
	if d.sound {
		ctx, cancel := context.WithTimeout(context.Background(), min(closeTimeout, d.channel.Timeout))
		defer cancel()
		if _, err := d.remote.Close(ctx, &driverpb.CloseRequest{Session: d.session}); err != nil {
			d.logger.Debug("the driver process did not confirm the end of its session", "error", err)
		}
	}
	d.hangUp()
	return nil
}

func (d *Driver) hangUp() {
	if d.conn != nil {
		_ = d.conn.Close() // it fails only when it is closed already
	}
	d.conn, d.remote, d.sound = nil, nil, false
}

// call makes one exchange within the timeout of the channel. Its error is that of
// ctx, or says what the driver process did.
func (d *Driver) call(ctx context.Context, exchange func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.conn == nil {
		return errClosed
	}
	d.sound = false
	limited, cancel := context.WithTimeout(ctx, d.channel.Timeout)
	defer cancel()
	err := exchange(limited)
	if err == nil {
		d.sound = true
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return d.explain(err)
}

// configuration is the channel as the driver process needs to know it.
func (d *Driver) configuration() *driverpb.ConfigureRequest {
	request := &driverpb.ConfigureRequest{
		Session: d.session, Channel: uint32(d.channel.ID), Name: d.channel.Name, Settings: d.channel.GRPC.Settings,
		PollPeriodMs: uint32(d.channel.PollPeriod.Milliseconds()), TimeoutMs: uint32(d.channel.Timeout.Milliseconds()),
	}
	for i := range d.channel.Points {
		point := &d.channel.Points[i]
		request.Points = append(request.Points, &driverpb.Point{
			Type: pointType(point.Type), Id: uint32(point.ID), Name: point.Name,
			Address: point.Mapping.Text, Group: point.Group, Unit: point.Unit,
		})
	}
	return request
}

func pointType(kind ems.PointType) driverpb.PointType {
	switch kind {
	case ems.Telemetry:
		return driverpb.PointType_POINT_TYPE_TELEMETRY
	case ems.Signal:
		return driverpb.PointType_POINT_TYPE_SIGNAL
	case ems.Control:
		return driverpb.PointType_POINT_TYPE_CONTROL
	default:
		return driverpb.PointType_POINT_TYPE_ADJUSTMENT
	}
}
