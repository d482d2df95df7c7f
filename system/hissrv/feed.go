package hissrv

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// consumer names this service among the readers of the history stream. It stays
// the same over restarts, so that what was taken and not finished comes again.
const consumer = "hissrv"

// How many lines travel at once: to InfluxDB many, because a request has its
// price, and from Redis few, because nobody else is served while a call makes
// them, at about 50 us for a line of 100 points.
const (
	batchLines   = 1000
	collectLines = 20
	finishLines  = 100
)

// feed moves lines from Redis into InfluxDB once a period, until ctx ends. After
// the start and after an error, what was taken before and not finished comes
// first; writing a line again changes nothing, because the series and the time
// are the same.
func (s *Service) feed(ctx context.Context) {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	again := true
	var lastFault ems.Code // the text of a fault may name another port each time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		err := s.drain(ctx, again)
		again = err != nil
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			lastFault = ""
		case ems.CodeOf(err) != lastFault:
			lastFault = ems.CodeOf(err)
			s.logger.Warn("history cannot be collected from redis; trying again", "error", err)
		}
		timer.Reset(s.period)
	}
}

// drain writes everything that waits.
func (s *Service) drain(ctx context.Context, again bool) error {
	for {
		lines, err := s.collect(ctx, again)
		switch {
		case err != nil:
			return err
		case len(lines) > 0:
			if err := s.write(ctx, lines); err != nil {
				return err
			}
		case again:
			again = false
		default:
			return nil
		}
	}
}

// collect gathers one batch. Of what was taken before it returns one call's
// worth: another call would bring the same until it is finished.
func (s *Service) collect(ctx context.Context, again bool) ([]rtdb.Line, error) {
	var lines []rtdb.Line
	for {
		part, err := s.db.CollectLines(ctx, consumer, again, collectLines)
		lines = append(lines, part...)
		if err != nil || again || len(part) == 0 || len(lines) >= batchLines {
			return lines, err
		}
	}
}

// finish takes lines that are in history out of Redis.
func (s *Service) finish(ctx context.Context, lines []rtdb.Line) error {
	for part := range slices.Chunk(lines, finishLines) {
		if err := s.db.FinishLines(ctx, part); err != nil {
			return err
		}
	}
	s.written.Add(float64(len(lines)))
	return nil
}

// write brings lines into history and takes them out of Redis. InfluxDB answers
// a batch that holds an unusable line by refusing all of it or an unknown part:
// halving finds the line, and the others are written.
func (s *Service) write(ctx context.Context, lines []rtdb.Line) error {
	err := s.send(ctx, lines)
	switch {
	case err == nil:
		return s.finish(ctx, lines)
	case ems.CodeOf(err) != ems.CodeInvalid:
		return err
	case len(lines) == 1:
		return s.reject(ctx, lines[0], err)
	}
	half := len(lines) / 2
	if err := s.write(ctx, lines[:half]); err != nil {
		return err
	}
	return s.write(ctx, lines[half:])
}

func (s *Service) reject(ctx context.Context, line rtdb.Line, reason error) error {
	if err := s.db.RejectLine(ctx, line, reason.Error()); err != nil {
		return err
	}
	s.rejected.Inc()
	s.logger.Error("history refused a line, which is a dead letter now", "entry", line.Entry, "reason", reason)
	return nil
}

// send returns when InfluxDB has taken or refused the lines, or ctx ends. In
// every other case, a time-out included, it tries again: nothing is given up.
func (s *Service) send(ctx context.Context, lines []rtdb.Line) error {
	pauses := newPauses()
	for {
		err := s.influx.write(ctx, lines)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || ems.CodeOf(err) == ems.CodeInvalid {
			if s.fault.Swap(nil) != nil {
				s.logger.Info("history is written again")
			}
			return err
		}
		s.retries.Inc()
		if last := s.fault.Swap(&err); last == nil || (*last).Error() != err.Error() {
			s.logger.Warn("history cannot be written; the samples wait in redis", "error", err)
		}
		timer := s.clock.NewTimer(pauses.NextBackOff())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C():
		}
	}
}

// newPauses returns the pauses between attempts: doubling from half a second to
// 30 s, each varied by half, so that many writers do not come back together.
func newPauses() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 500 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.5, MaxInterval: 20 * time.Second,
	}
}
