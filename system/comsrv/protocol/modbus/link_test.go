package modbus

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// shared is a channel that reads one register of one unit.
func shared(id ems.ChannelID, address string, unit uint8) config.Channel {
	return config.Channel{
		ID: id, Protocol: config.ProtocolModbusTCP, Address: address, Timeout: time.Minute,
		Points: []config.MappedPoint{
			point(ems.Telemetry, 1, register(unit, 3, uint16(unit), config.Uint16)),
			point(ems.Adjustment, 2, register(unit, 6, 100+uint16(unit), config.Uint16)),
		},
	}
}

func wantGood(t *testing.T, driver *Driver, want map[ems.PointID]float64) {
	t.Helper()
	good, bad := poll(t, driver)
	if diff := cmp.Diff(want, good); diff != "" || len(bad) > 0 {
		t.Error(diff, bad)
	}
}

// TestChannelsOfOneAddressShareAConnection, on which one request at a time is
// under way, until the last of them is closed.
func TestChannelsOfOneAddressShareAConnection(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3] = map[uint16]uint16{1: 11, 2: 22, 3: 33}
	var mu sync.Mutex
	under, most := 0, 0
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		under++
		most = max(most, under)
		mu.Unlock()
		defer func() {
			mu.Lock()
			under--
			mu.Unlock()
		}()
		return device.serve(p, conn, request)
	})
	links := newLinks(t, ems.SystemClock{})
	drivers := []*Driver{
		openOn(t, links, shared(1, p.address(), 1)), openOn(t, links, shared(2, strings.Replace(p.address(), "127.0.0.1", "localhost", 1), 2)), openOn(t, links, shared(3, p.address(), 3)),
	}
	var polling sync.WaitGroup
	for i, driver := range drivers {
		if err := driver.Connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		polling.Go(func() {
			for range 50 {
				wantGood(t, driver, map[ems.PointID]float64{1: float64(11 * (i + 1)), 2: 0})
			}
		})
	}
	polling.Wait()
	if p.connected() != 1 || most != 1 {
		t.Errorf("%d connections, %d requests at once", p.connected(), most)
	}
	_ = drivers[0].Close()
	_ = drivers[0].Close() // which changes nothing
	_ = drivers[1].Close()
	wantGood(t, drivers[2], map[ems.PointID]float64{1: 33, 2: 0})
	if len(links.shared) != 1 || p.connected() != 1 {
		t.Errorf("%d links, %d connections", len(links.shared), p.connected())
	}
	last := drivers[2].link
	_ = drivers[2].Close()
	if len(links.shared) != 0 || last.port != nil {
		t.Error("the last one left the connection open")
	}
	wantGood(t, drivers[0], map[ems.PointID]float64{1: 11, 2: 0})
	if p.connected() != 2 {
		t.Errorf("%d connections", p.connected())
	}
}

func TestChannelsThatShareNoConnection(t *testing.T) {
	t.Parallel()
	first := shared(1, "", 1)
	for name, change := range map[string]func(second *config.Channel){
		"own":     func(c *config.Channel) { c.Modbus.OwnConnection = true },
		"spacing": func(c *config.Channel) { c.Modbus.Spacing = time.Microsecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, newBank().serve)
			links := newLinks(t, ems.SystemClock{})
			a, b := first, shared(2, p.address(), 2)
			a.Address = p.address()
			change(&b)
			for _, channel := range []config.Channel{a, b} {
				wantGood(t, openOn(t, links, channel), map[ems.PointID]float64{1: 0, 2: 0})
			}
			if p.connected() != 2 {
				t.Errorf("%d connections", p.connected())
			}
			others := newLinks(t, ems.SystemClock{})
			for _, channel := range []config.Channel{b, a} {
				wantGood(t, openOn(t, others, channel), map[ems.PointID]float64{1: 0, 2: 0})
			}
			if p.connected() != 4 {
				t.Errorf("%d connections", p.connected())
			}
		})
	}
}

// TestADeadUnitOfAnotherChannel: what one channel knows of a unit holds for all
// behind the connection, and each attempt to reach it costs them one timeout. Commands
// make attempts of their own, one in each timeout; all others are answered at once.
func TestADeadUnitOfAnotherChannel(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.units = map[byte]bool{1: true}
	p := newPeer(t, device.serve)
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	links := newLinks(t, clock)
	alive, dead, twin := shared(1, p.address(), 1), shared(2, p.address(), 2), shared(3, p.address(), 2)
	dead.Timeout, twin.Timeout = testTimeout, testTimeout
	first, second, third := openOn(t, links, alive), openOn(t, links, dead), openOn(t, links, twin)
	tries := func() (polls, commands []int) {
		var resting *restError
		for _, pause := range []float64{0, 0.7, 0.6, 1.5, 1.1} { // of about 1 and 2 timeouts
			clock.Advance(time.Duration(pause * float64(testTimeout)))
			wantGood(t, first, map[ems.PointID]float64{1: 0, 2: 0})
			before, written := framesTo(p, 2), writesTo(p, 2)
			for _, driver := range []*Driver{second, third} {
				_, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
				if err == nil || !strings.Contains(err.Error(), "did not answer in whole") {
					t.Fatalf("the error is %v", err)
				}
				sent := writesTo(p, 2)
				_, err = driver.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 7})
				if writesTo(p, 2) > sent {
					wantFault(t, err, protocol.Unanswered)
				} else if wantFault(t, err, protocol.NotSent); !errors.As(err, &resting) || !strings.Contains(err.Error(), "the unit does not answer") {
					t.Fatalf("the error is %v", err)
				}
			}
			sent := writesTo(p, 2) - written
			commands, polls = append(commands, sent), append(polls, framesTo(p, 2)-before-sent)
		}
		return polls, commands
	}
	polls, commands := tries()
	if diff := cmp.Diff([]int{1, 0, 1, 0, 1}, polls); diff != "" { // as if there were no commands
		t.Error("polls of the dead unit:", diff)
	}
	if diff := cmp.Diff([]int{1, 0, 1, 1, 1}, commands); diff != "" {
		t.Error("commands to the dead unit:", diff)
	}
	// One that begins anew asks at once, whatever the others know.
	before := framesTo(p, 2)
	_ = second.Connect(context.Background())
	if _, err := second.ReadBatch(context.Background(), ems.DefaultGroup); err == nil || framesTo(p, 2) != before+1 {
		t.Errorf("%v; %d more requests", err, framesTo(p, 2)-before)
	}
	device.mu.Lock()
	device.units = nil
	device.mu.Unlock()
	clock.Advance(2 * longestPause)
	wantGood(t, third, map[ems.PointID]float64{1: 0, 2: 0})
	wantGood(t, second, map[ems.PointID]float64{1: 0, 2: 0})
	if p.connected() != 9 { // one more after each of the eight attempts
		t.Errorf("%d connections", p.connected())
	}
}

// TestNobodyToBeSpared: where no other unit answers, one that is silent is asked
// whenever somebody wants to know.
func TestNobodyToBeSpared(t *testing.T) {
	t.Parallel()
	device := newBank()
	p := newPeer(t, device.serve)
	links := newLinks(t, ems.NewManualClock(time.Unix(1_700_000_000, 0)))
	alive, dead := shared(1, p.address(), 1), shared(2, p.address(), 2)
	dead.Timeout = testTimeout
	first, second := openOn(t, links, alive), openOn(t, links, dead)
	second.held()
	wantGood(t, first, map[ems.PointID]float64{1: 0, 2: 0})
	_ = first.Close()
	device.units = map[byte]bool{}
	for want := 1; want <= 3; want++ {
		if _, err := second.ReadBatch(context.Background(), ems.DefaultGroup); err == nil || framesTo(p, 2) != want {
			t.Fatalf("%v after %d requests, want %d", err, framesTo(p, 2), want)
		}
	}
}

// TestWriteGoesBeforeReadsOfOthers on the wire, and nothing comes between it and
// its read-back.
func TestWriteGoesBeforeReadsOfOthers(t *testing.T) {
	t.Parallel()
	device := newBank()
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		once.Do(func() {
			close(arrived)
			<-release
		})
		return device.serve(p, conn, request)
	})
	links := newLinks(t, ems.SystemClock{})
	var working sync.WaitGroup
	var drivers []*Driver
	for unit := range uint8(4) {
		drivers = append(drivers, openOn(t, links, shared(ems.ChannelID(unit+1), p.address(), unit+1)))
	}
	working.Go(func() { wantGood(t, drivers[0], map[ems.PointID]float64{1: 0, 2: 0}) })
	<-arrived
	turns := &drivers[0].link.turns
	for i, driver := range drivers[1:3] {
		working.Go(func() { wantGood(t, driver, map[ems.PointID]float64{1: 0, 2: 0}) })
		awaitWaiting(t, turns, i+1)
	}
	working.Go(func() {
		if _, err := drivers[3].WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 7}); err != nil {
			t.Error(err)
		}
	})
	awaitWaiting(t, turns, 3)
	close(release)
	working.Wait()
	var order []int
	for _, request := range allFrames(p) {
		order = append(order, 10*int(request[6])+int(request[7]))
	}
	// Unit 1 reads, 4 writes and reads back; then come the other reads.
	if diff := cmp.Diff([]int{13, 46, 43}, order[:3]); diff != "" || len(order) != 8 {
		t.Error(diff, order)
	}
}

func TestSpacing(t *testing.T) {
	t.Parallel()
	const spacing = 20 * time.Millisecond
	var mu sync.Mutex
	var answered time.Time
	var gaps []time.Duration
	device := newBank()
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if !answered.IsZero() {
			gaps = append(gaps, time.Since(answered))
		}
		answered = time.Now() // before the reply is there
		return device.serve(p, conn, request)
	})
	links := newLinks(t, ems.SystemClock{})
	for unit := range uint8(2) {
		channel := shared(ems.ChannelID(unit+1), p.address(), unit+1)
		channel.Modbus.Spacing = spacing
		wantGood(t, openOn(t, links, channel), map[ems.PointID]float64{1: 0, 2: 0})
	}
	mu.Lock()
	defer mu.Unlock()
	if len(gaps) != 3 {
		t.Fatalf("%d gaps", len(gaps))
	}
	for _, gap := range gaps {
		if gap < spacing {
			t.Errorf("a request came %v after the reply to the one before", gap)
		}
	}
}

// TestRetries: a read is sent again as often as the channel has it, a write never,
// and a unit that is known to be silent is asked once.
func TestRetries(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.words[3][1] = 11
	var mu sync.Mutex
	cut := 2 // requests that are not answered
	p := newPeer(t, func(p *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if cut--; cut >= 0 {
			return false
		}
		return device.serve(p, conn, request)
	})
	channel := shared(1, p.address(), 1)
	channel.Points[1].Mapping.Address = 2 // one read
	channel.Modbus.Retries = 2
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	requests := func(cuts int, act func()) int {
		mu.Lock()
		cut = cuts
		mu.Unlock()
		before := len(p.seen())
		act()
		return len(p.seen()) - before
	}
	if count := requests(2, func() { wantGood(t, driver, map[ems.PointID]float64{1: 11, 2: 0}) }); count != 3 {
		t.Errorf("%d requests for a read that is answered at the third", count)
	}
	write := func() {
		_, err := driver.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 7})
		wantFault(t, err, protocol.Unanswered)
	}
	if count := requests(1, write); count != 1 {
		t.Errorf("%d requests for a write", count)
	}
	silent := func() {
		var broken *brokenError
		if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); !errors.As(err, &broken) {
			t.Errorf("the error is %v", err)
		}
	}
	if count := requests(9, silent); count != 1 {
		t.Errorf("%d requests to a unit that is known to be silent", count)
	}
	requests(0, func() { wantGood(t, driver, map[ems.PointID]float64{1: 11, 2: 0}) })
	if count := requests(9, silent); count != 3 {
		t.Errorf("%d requests for a read that is never answered", count)
	}
}

// TestOneFailureToConnectIsEverybodys who waited meanwhile: a hundred channels
// behind a host that is away fail together and not one after the other.
func TestOneFailureToConnectIsEverybodys(t *testing.T) {
	t.Parallel()
	p := newPeer(t, newBank().serve)
	p.close()
	links := newLinks(t, ems.SystemClock{})
	first, second := openOn(t, links, shared(1, p.address(), 1)), openOn(t, links, shared(2, p.address(), 2))
	turns := &openOn(t, links, shared(3, p.address(), 3)).held().turns
	if err := turns.take(context.Background(), 1, false); err != nil {
		t.Fatal(err)
	}
	failures := make(chan error)
	for i, driver := range []*Driver{first, second} {
		go func() { failures <- driver.Connect(context.Background()) }()
		awaitWaiting(t, turns, i+1)
	}
	turns.give()
	a, b := <-failures, <-failures
	if a == nil || !errors.Is(a, b) {
		t.Errorf("%v and %v are not the same failure", a, b)
	}
	if c := first.Connect(context.Background()); c == nil || errors.Is(c, a) {
		t.Errorf("a later attempt was not made: %v", c)
	}
}

// TestAUnitThatIsNotAskedIsNotSound: a poll in which every address of a unit is
// left out says nothing of it.
func TestAUnitThatIsNotAskedIsNotSound(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(_ byte, address int) bool { return address == 9 }
	p := newPeer(t, device.serve)
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	refused := point(ems.Telemetry, 3, register(2, 3, 9, config.Uint16))
	refused.Group = "slow"
	driver := openOn(t, newLinks(t, clock), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Second, PollPeriod: time.Second, Points: []config.MappedPoint{
			point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16)), point(ems.Telemetry, 2, register(2, 3, 0, config.Uint16)), refused,
		},
	})
	slow := func() {
		t.Helper()
		if readings, err := driver.ReadBatch(context.Background(), "slow"); err != nil || len(readings) != 1 || readings[0].Quality != ems.Bad {
			t.Fatalf("%+v, %v", readings, err)
		}
	}
	slow() // the address is refused, and left out of the next poll
	device.mu.Lock()
	device.units = map[byte]bool{1: true}
	device.mu.Unlock()
	poll(t, driver)
	asked := framesTo(p, 2)
	slow()
	poll(t, driver)
	if got := framesTo(p, 2); got != asked {
		t.Errorf("%d requests to the silent unit, of which %d came too soon", got, got-asked)
	}
	_ = driver.Close()
}

// TestNothingIsAskedWithoutAConnection where every address is left out.
func TestNothingIsAskedWithoutAConnection(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.illegal = func(byte, int) bool { return true }
	p := newPeer(t, device.serve)
	driver := open(t, p.address(), time.Minute, oneRegister())
	for range 2 {
		good, bad := poll(t, driver)
		if len(good) > 0 || len(bad) != 1 {
			t.Error(good, bad)
		}
		_ = driver.Close()
	}
}
