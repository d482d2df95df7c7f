package main

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
)

// driver serves any number of channels.
type driver struct {
	driverpb.UnimplementedDriverServer
	logger *slog.Logger

	mu       sync.Mutex
	sessions map[string]*session
	current  map[uint32]string // the session of each channel
}

// session is one channel from its Configure on.
type session struct {
	folder string
	files  []string         // by point
	groups map[string][]int // points by poll group

	mu     sync.Mutex // a call that comsrv gave up may still be at work
	device *device    // nil before Connect
}

func newDriver(logger *slog.Logger) *driver {
	return &driver{logger: logger, sessions: map[string]*session{}, current: map[uint32]string{}}
}

// Configure checks what comsrv wants and begins a session in place of an earlier
// one of the channel.
func (d *driver) Configure(_ context.Context, request *driverpb.ConfigureRequest) (*driverpb.ConfigureResponse, error) {
	made := &session{folder: request.GetSettings()["folder"], groups: map[string][]int{}}
	if made.folder == "" {
		return nil, status.Error(codes.InvalidArgument, "name the folder of the device in grpc.settings.folder of the channel")
	}
	for i, point := range request.GetPoints() {
		file := point.GetAddress()
		if file == "" {
			file = point.GetName()
		}
		made.files = append(made.files, file)
		made.groups[point.GetGroup()] = append(made.groups[point.GetGroup()], i)
	}
	d.mu.Lock()
	earlier := d.sessions[d.current[request.GetChannel()]]
	delete(d.sessions, d.current[request.GetChannel()])
	d.sessions[request.GetSession()], d.current[request.GetChannel()] = made, request.GetSession()
	d.mu.Unlock()
	if earlier != nil {
		earlier.close()
	}
	d.logger.Info("configured", "channel", request.GetChannel(), "name", request.GetName(), "points", len(made.files))
	return &driverpb.ConfigureResponse{}, nil
}

// session returns the session of a call. One that ended, or was begun before this
// process was, is none.
func (d *driver) session(name string) (*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if found := d.sessions[name]; found != nil {
		return found, nil
	}
	return nil, status.Error(codes.FailedPrecondition, "this session is not known: configure it")
}

// Connect opens the device anew.
func (d *driver) Connect(_ context.Context, request *driverpb.ConnectRequest) (*driverpb.ConnectResponse, error) {
	s, err := d.session(request.GetSession())
	if err != nil {
		return nil, err
	}
	s.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device, err = openDevice(s.folder); err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &driverpb.ConnectResponse{}, nil
}

// ReadBatch reads the files of a poll group. One that cannot be read costs its
// point alone.
func (d *driver) ReadBatch(ctx context.Context, request *driverpb.ReadBatchRequest) (*driverpb.ReadBatchResponse, error) {
	s, err := d.session(request.GetSession())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device == nil {
		return nil, status.Error(codes.FailedPrecondition, "the device is not connected")
	}
	response := &driverpb.ReadBatchResponse{}
	for _, point := range s.groups[request.GetGroup()] {
		if ctx.Err() != nil { // nobody waits for it any more
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		reading := &driverpb.Reading{Point: uint32(point)}
		if reading.Raw, reading.Reason, err = s.device.read(s.files[point]); err != nil {
			reading.Reason = err.Error()
		} else if reading.Reason != "" {
			reading.Uncertain = true
		}
		response.Readings = append(response.Readings, reading)
	}
	return response, nil
}

// WritePoint writes one file and reads it again.
func (d *driver) WritePoint(ctx context.Context, request *driverpb.WritePointRequest) (*driverpb.WritePointResponse, error) {
	s, err := d.session(request.GetSession())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	point := int(request.GetPoint())
	switch {
	case s.device == nil:
		return nil, status.Error(codes.FailedPrecondition, "the device is not connected")
	case point >= len(s.files):
		return nil, status.Errorf(codes.InvalidArgument, "there is no point %d", point)
	case ctx.Err() != nil: // comsrv gave it up, and takes it for unknown: better not to act late
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	file := s.files[point]
	if begun, err := s.device.write(file, request.GetRaw()); err != nil {
		response := &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_NOT_SENT, Reason: err.Error()}
		if begun {
			response.Outcome = driverpb.WriteOutcome_WRITE_OUTCOME_UNANSWERED
		}
		return response, nil
	}
	d.logger.Info("written", "file", file, "raw", request.GetRaw())
	response := &driverpb.WritePointResponse{Outcome: driverpb.WriteOutcome_WRITE_OUTCOME_WRITTEN, Sent: request.GetRaw()}
	if back, _, err := s.device.read(file); err != nil {
		response.Reason = err.Error()
	} else {
		response.ReadBack = &back
	}
	return response, nil
}

// Close ends a session, known or not.
func (d *driver) Close(_ context.Context, request *driverpb.CloseRequest) (*driverpb.CloseResponse, error) {
	d.mu.Lock()
	ended := d.sessions[request.GetSession()]
	delete(d.sessions, request.GetSession())
	d.mu.Unlock()
	if ended != nil {
		ended.close()
	}
	return &driverpb.CloseResponse{}, nil
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.device != nil {
		s.device.close()
	}
	s.device = nil
}
