package netsrv

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of one batch and of one request.
const (
	batchEvents    = 100
	batchWait      = time.Second      // how long the first event of a batch waits for more
	forwardTimeout = 10 * time.Second // of one request
)

// batch is the body of a request.
type batch struct {
	Site   string  `json:"site"`
	Events []event `json:"events"`
}

type event struct {
	Kind string          `json:"kind"` // update, alarm or rule
	Data json.RawMessage `json:"data"`
}

// link is how the way to the target stands.
type link struct {
	mu        sync.Mutex
	connected bool
	sent      int64
	dropped   int64
	lastError string
}

func (l *link) status() status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return status{Connected: l.connected, Sent: l.sent, Dropped: l.dropped, LastError: l.lastError}
}

// note keeps the outcome of a request and reports whether it is news.
func (l *link) note(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		news := !l.connected
		l.connected, l.lastError = true, ""
		return news
	}
	news := l.lastError != err.Error()
	l.connected, l.lastError = false, err.Error()
	return news
}

func (l *link) count(sent, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.dropped = l.sent+int64(sent), l.dropped+int64(dropped)
}

// forward sends what is queued, until ctx ends.
func (s *Service) forward(ctx context.Context) {
	timer := s.clock.NewTimer(batchWait)
	defer timer.Stop()
	for {
		events, ok := s.gather(ctx, timer)
		if !ok {
			return
		}
		s.deliver(ctx, events)
	}
}

// gather waits for a full batch, or for batchWait after the first event of one.
func (s *Service) gather(ctx context.Context, timer ems.Timer) (events []rtdb.Event, ok bool) {
	started := false
	for {
		switch length := s.queue.length(); {
		case length >= batchEvents:
			return s.queue.take(batchEvents), true
		case length > 0 && !started:
			started = true
			timer.Reset(batchWait)
		}
		var full <-chan time.Time
		if started {
			full = timer.C()
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-s.queue.arrived:
		case <-full:
			return s.queue.take(batchEvents), true
		}
	}
}

// deliver sends one batch until the target takes or refuses it, or ctx ends.
// What comes later waits behind it, so the order is kept. A batch whose answer
// was lost is sent again, so the target may see one twice.
func (s *Service) deliver(ctx context.Context, events []rtdb.Event) {
	body, err := s.encode(events)
	if err != nil {
		s.refuse(len(events), err)
		return
	}
	pauses := newPauses()
	for {
		err := s.post.send(ctx, body, nil)
		if ctx.Err() != nil {
			return
		}
		news := s.link.note(err)
		switch {
		case err == nil:
			if news {
				s.logger.Info("forwarding", "target", s.shown)
			}
			s.link.count(len(events), 0)
			s.sent.Add(float64(len(events)))
			return
		case ems.CodeOf(err) == ems.CodeInvalid:
			s.refuse(len(events), err)
			return
		case news:
			s.logger.Warn("events cannot be forwarded; trying again", "target", s.shown, "error", err)
		}
		timer := s.clock.NewTimer(pauses.NextBackOff())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
	}
}

// refuse drops a batch that will never be taken.
func (s *Service) refuse(count int, reason error) {
	s.link.count(0, count)
	s.refused.Add(float64(count))
	s.logger.Error("events were refused and are dropped", "target", s.shown, "events", count, "error", reason)
}

func (s *Service) encode(events []rtdb.Event) ([]byte, error) {
	whole := batch{Site: s.site.Name, Events: make([]event, len(events))}
	for i, item := range events {
		data := json.RawMessage(item.Data)
		if !json.Valid(data) { // as a text then: one event must not cost the others
			text, err := json.Marshal(item.Data)
			if err != nil {
				return nil, ems.Errorf(ems.CodeInvalid, "an event cannot be written as JSON: %w", err)
			}
			data = text
		}
		whole.Events[i] = event{Kind: item.Kind, Data: data}
	}
	body, err := json.Marshal(whole)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "events cannot be written as JSON: %w", err)
	}
	return body, nil
}
