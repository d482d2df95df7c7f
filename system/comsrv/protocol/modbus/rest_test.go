package modbus

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// writesTo counts the writes of registers that a unit got.
func writesTo(p *peer, unit byte) (count int) {
	for _, frame := range allFrames(p) {
		if frame[6] == unit && frame[7] == writeRegister {
			count++
		}
	}
	return count
}

// TestACommandEndsTheRestOfAUnit: it is sent at once to one that is left alone, and any
// answer, also a refusal, lets it be polled again. What is written regularly is not.
func TestACommandEndsTheRestOfAUnit(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"done": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			device := newBank()
			device.answerOnly(1)
			device.illegal = func(function byte, _ int) bool { return refused && function == writeRegister }
			p := newPeer(t, device.serve)
			links := newLinks(t, ems.NewManualClock(time.Unix(1_700_000_000, 0)))
			dead := shared(2, p.address(), 2)
			dead.Timeout = testTimeout
			first, second := openOn(t, links, shared(1, p.address(), 1)), openOn(t, links, dead)
			wantGood(t, first, map[ems.PointID]float64{1: 0, 2: 0})
			if _, err := second.ReadBatch(t.Context(), ems.DefaultGroup); err == nil {
				t.Fatal("a silent unit was read")
			}
			device.answerOnly(1, 2)
			if _, err := second.ReadBatch(t.Context(), ems.DefaultGroup); err == nil || framesTo(p, 2) != 1 {
				t.Fatalf("%v; it is not left alone", err)
			}
			var resting *restError
			_, err := second.WritePoint(t.Context(), protocol.Write{Point: 1, Raw: 7, Regular: true})
			if wantFault(t, err, protocol.NotSent); !errors.As(err, &resting) {
				t.Error(err)
			}
			written, err := second.WritePoint(t.Context(), protocol.Write{Point: 1, Raw: 7})
			if refused {
				wantFault(t, err, protocol.Refused)
			} else if err != nil || written.ReadBack == nil || *written.ReadBack != 7 {
				t.Errorf("%+v, %v", written, err)
			}
			if good, bad := poll(t, second); len(good) != 2 || len(bad) > 0 {
				t.Error(good, bad)
			}
		})
	}
}

// TestOneCommandAtATimeTriesADeadUnit: while one is under way another one is answered
// at once, and does not wait for the connection.
func TestOneCommandAtATimeTriesADeadUnit(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.answerOnly(1)
	arrived, release := make(chan struct{}), make(chan struct{})
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		if request[7] == writeRegister {
			close(arrived)
			<-release
			return send(conn, device.reply(request))
		}
		return device.serve(p, conn, request)
	})
	links := newLinks(t, ems.NewManualClock(time.Unix(1_700_000_000, 0)))
	dead, twin := shared(2, p.address(), 2), shared(3, p.address(), 2)
	dead.Timeout = testTimeout
	first, second, third := openOn(t, links, shared(1, p.address(), 1)), openOn(t, links, dead), openOn(t, links, twin)
	wantGood(t, first, map[ems.PointID]float64{1: 0, 2: 0})
	if _, err := second.ReadBatch(t.Context(), ems.DefaultGroup); err == nil {
		t.Fatal("a silent unit was read")
	}
	ended := make(chan error)
	go func() {
		_, err := third.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 7})
		ended <- err
	}()
	<-arrived
	_, err := second.WritePoint(t.Context(), protocol.Write{Point: 1, Raw: 8})
	wantFault(t, err, protocol.NotSent)
	device.answerOnly(1, 2)
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if writesTo(p, 2) != 1 {
		t.Errorf("%d writes", writesTo(p, 2))
	}
}

// TestOthersGoBetweenTwoTries: a unit that gets another try gives way to commands to
// others before, those of its own channel too.
func TestOthersGoBetweenTwoTries(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3][1] = 11
	arrived, release := make(chan struct{}), make(chan struct{})
	tries := 0
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		if request[6] == 1 {
			if tries++; tries == 1 {
				close(arrived)
				<-release
				return false
			}
		}
		return device.serve(p, conn, request)
	})
	links := newLinks(t, ems.SystemClock{})
	channel := shared(1, p.address(), 1)
	channel.Modbus.Retries, channel.Points = 2, append(channel.Points[:1], point(ems.Adjustment, 3, register(3, 6, 9, config.Uint16)))
	channel.Points[1].Group = "written"
	first, second := openOn(t, links, channel), openOn(t, links, shared(2, p.address(), 2))
	turns := &second.held().turns
	yields := 0
	first.yield = func(ctx context.Context) {
		if yields++; yields == 2 {
			if _, err := first.WritePoint(ctx, protocol.Write{Point: 1, Raw: 7}); err != nil {
				t.Error(err)
			}
		}
	}
	var working sync.WaitGroup
	working.Go(func() { wantGood(t, first, map[ems.PointID]float64{1: 11}) })
	<-arrived
	working.Go(func() {
		if _, err := second.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 7}); err != nil {
			t.Error(err)
		}
	})
	awaitWaiting(t, turns, 1)
	close(release)
	working.Wait()
	var order []int
	for _, request := range allFrames(p) {
		order = append(order, 10*int(request[6])+int(request[7]))
	}
	// Unit 1 is read, 2 and 3 are written and read back, and 1 is read again.
	if diff := cmp.Diff([]int{13, 26, 23, 36, 33, 13}, order); diff != "" || yields != 2 {
		t.Error(diff, yields, "yields")
	}
}
