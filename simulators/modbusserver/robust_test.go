package modbusserver

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

//nolint:gochecknoglobals // flags of these tests
var (
	soakFor  = flag.Duration("soak", time.Second, "how long random frames are sent")
	soakSeed = flag.Uint64("soak.seed", 0, "seed of the frames; 0 takes a new one")
	cuts     = flag.Int("cuts", 10_000, "how many clients come and go")
)

// TestSoakRandomFrames sends random frames over every transport at once, whole and
// in pieces, right and wrong, while faults come and go. In the end everybody is
// answered as in the beginning. `make soak` lets it go on for ten minutes.
func TestSoakRandomFrames(t *testing.T) {
	t.Parallel()
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -soak.seed=%d", seed, seed)
	for name, open := range transports() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := open(t)
			random, rounds := rand.New(rand.NewPCG(seed, uint64(len(name)))), 0
			for end := time.Now().Add(*soakFor); rounds < 10 || time.Now().Before(end); rounds++ {
				setFaults(t, s, randomFaults(random, s)...)
				connection, err := s.connect()
				if err != nil {
					continue // refused by a fault
				}
				soakOn(random, connection, peer{framing: s.options.Framing})
				_ = connection.Close()
			}
			setFaults(t, s)
			s.units[1].SetBusy(false)
			await(t, "an answer as in the beginning", func() bool {
				connection, err := s.connect()
				if err != nil {
					return false
				}
				defer func() { _ = connection.Close() }()
				p := peer{connection, s.options.Framing}
				_ = connection.SetDeadline(time.Now().Add(time.Second)) // a line may still hold half a frame
				want := p.frame(7, 1, bytesOf(t, "04 04 CAFE F00D"))
				got := make([]byte, len(want))
				_, sent := connection.Write(p.frame(7, 1, bytesOf(t, "04 FFFE 0002")))
				_, err = io.ReadFull(connection, got)
				return sent == nil && err == nil && bytes.Equal(got, want)
			})
			t.Logf("%d rounds, %d requests, %d broken", rounds, s.counters.requests[3].Load(), s.counters.malformed.Load())
		})
	}
}

// randomFaults returns up to two faults that a server may have.
func randomFaults(random *rand.Rand, s *testServer) (faults []Fault) {
	for range random.IntN(3) {
		fault := Fault{Kind: faultKinds[random.IntN(len(faultKinds))].Kind, Probability: 0.5, Seed: random.Uint64()}
		switch fault.Kind {
		case Delay:
			fault.JitterMS = 2
		case Exception:
			fault.Exception = 1 + random.IntN(mostException)
		}
		if fault.checkServer(s.options.Framing, s.socket) == nil {
			faults = append(faults, fault)
		}
	}
	return faults
}

// soakOn sends a few frames to a server, most of them not quite right, and reads
// whatever comes.
func soakOn(random *rand.Rand, connection stream, p peer) {
	within := 10 * time.Millisecond // silence and one byte a second are among the faults
	if p.framing == RTU {
		within = 2 * patience // so that the next frame is found
	}
	_ = connection.SetDeadline(time.Now().Add(within))
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, connection) })
	for range 1 + random.IntN(20) {
		pdu := make([]byte, 1+random.IntN(20))
		for i := range pdu {
			pdu[i] = byte(random.Uint32())
		}
		if pdu[0] %= 48; random.IntN(2) == 0 { // a read that is right
			pdu = []byte{3 + pdu[0]&1, 0, pdu[0], 0, 1}
		}
		frame := p.frame(uint16(random.Uint32()), byte(random.IntN(4)), pdu)
		switch random.IntN(40) {
		case 0:
			frame[random.IntN(len(frame))] ^= byte(1 << random.IntN(8))
		case 1:
			frame = frame[:random.IntN(len(frame))]
		case 2:
			frame = append(frame, byte(random.Uint32()))
		}
		for len(frame) > 0 {
			size := 1 + random.IntN(len(frame))
			if _, err := connection.Write(frame[:size]); err != nil {
				break
			}
			frame = frame[size:]
		}
	}
	reading.Wait()
}

// TestCutsLeaveNothing lets clients come and go in every way, ten thousand of them:
// no goroutine and no descriptor is left. It is alone, as it counts those of the
// whole process.
func TestCutsLeaveNothing(t *testing.T) { //nolint:paralleltest // see above
	const workers = 4
	tcp := startServer(t, 64)
	rtu := startOn(t, listen(t), Options{Framing: RTU, Connections: 64})
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	var cutting sync.WaitGroup
	for worker := range workers {
		cutting.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for n := range *cuts / workers {
				s := []*testServer{tcp, rtu}[n%2]
				connection, err := s.connect()
				if err != nil {
					t.Error(err)
					return
				}
				p := peer{connection, s.options.Framing}
				request := p.frame(1, 1, []byte{3, 0, 0, 0, 1})
				switch random.IntN(4) {
				case 0: // says nothing
				case 1:
					_, _ = connection.Write(request[:1+random.IntN(len(request)-1)])
				case 2: // does not wait for the answer
					_, _ = connection.Write(request)
				case 3:
					_, _ = connection.Write(request)
					_, _ = connection.Read(make([]byte, 1))
				}
				_ = connection.(*net.TCPConn).SetLinger(0) // no port is to be left waiting either
				_ = connection.Close()
			}
		})
	}
	cutting.Wait()
	await(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	if now := openDescriptors(t); now > descriptors {
		t.Errorf("%d descriptors, and %d before", now, descriptors)
	}
	for _, s := range []*testServer{tcp, rtu} {
		if open := s.counters.connections.Load(); open != 0 {
			t.Errorf("%d connections count as open", open)
		}
		connection := dial(t, s)
		peer{connection, s.options.Framing}.ask(t, 1, read3, holds1)
		_ = connection.Close()
	}
	if came := tcp.counters.accepted.Load() + rtu.counters.accepted.Load(); came < uint64(*cuts)*9/10 { // one that was cut at once may never be accepted
		t.Errorf("%d clients came", came)
	}
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestIdleClientsAreSentAway: those that say nothing, those that stop in the middle of
// a frame, and those that ask and never read.
func TestIdleClientsAreSentAway(t *testing.T) {
	t.Parallel()
	for _, framing := range []Framing{TCP, RTU} {
		s := startOn(t, listen(t), Options{Framing: framing, Idle: 200 * time.Millisecond})
		silent, half, deaf := dial(t, s), dial(t, s), dial(t, s)
		p := peer{half, framing}
		send(t, half, p.frame(1, 1, bytesOf(t, read3))[:3])
		_ = deaf.(*net.TCPConn).SetReadBuffer(1024) // it is soon full
		request := bytes.Repeat(p.frame(1, 1, bytesOf(t, "03 001E 007D")), 1000)
		var asking sync.WaitGroup
		asking.Go(func() {
			for {
				if _, err := deaf.Write(request); err != nil {
					return
				}
			}
		})
		for name, connection := range map[string]net.Conn{"silent": silent, "half a frame": half} {
			if !closedByServer(t, connection) {
				t.Errorf("%s: %s: still connected", framing, name)
			}
		}
		await(t, "nobody to be connected", func() bool { return s.counters.connections.Load() == 0 })
		_ = deaf.Close()
		asking.Wait()
		peer{dial(t, s), framing}.ask(t, 1, read3, holds1)
	}
}

// TestALineLosesWhatNobodyReads and goes on.
func TestALineLosesWhatNobodyReads(t *testing.T) {
	t.Parallel()
	s, p := transports()["serial line"](t)
	request, asked := p.frame(0, 1, bytesOf(t, "03 001E 007D")), uint64(120) // 30 KB of answers, which is more than a pseudo-terminal holds
	for range asked {
		send(t, p, request)
	}
	await(t, "every request to be heard", func() bool { return s.counters.requests[3].Load() == asked })
	want := p.frame(0, 1, bytesOf(t, holds1))
	await(t, "an answer behind what was not lost", func() bool {
		if err := p.ReadWriter.(stream).SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		send(t, p, p.frame(0, 1, bytesOf(t, read3)))
		got, _ := io.ReadAll(p) // until nothing comes any more
		return bytes.HasSuffix(got, want)
	})
}

// TestReadsAllocateNothing, over either framing: not for the frame, not for what is
// counted, and not for faults while none is set.
func TestReadsAllocateNothing(t *testing.T) { //nolint:paralleltest // it counts what the whole process allocates
	for _, framing := range []Framing{TCP, RTU} {
		for _, pdu := range []string{"03 001E 007D", "04 03E8 0001", "01 0000 07D0", "02 0064 0001", "03 0014 0001"} {
			s := startOn(t, listen(t), Options{Framing: framing})
			connection := dial(t, s)
			request := peer{framing: framing}.frame(1, 1, bytesOf(t, pdu))
			answer := make([]byte, 300)
			ask := func() {
				if _, err := connection.Write(request); err != nil {
					t.Fatal(err)
				}
				if _, err := connection.Read(answer); err != nil {
					t.Fatal(err)
				}
			}
			ask() // the buffers are made
			ask()
			if allocated := testing.AllocsPerRun(200, ask); allocated != 0 {
				t.Errorf("%s, %s: %v allocations", framing, pdu, allocated)
			}
		}
	}
}

// TestManyClientsAreAnsweredInOrder: each of them sends all of its requests before it
// reads any answer.
func TestManyClientsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	const clients, requests = 64, 200
	s := startServer(t, clients)
	var asking sync.WaitGroup
	for range clients {
		connection := dial(t, s)
		asking.Go(func() {
			var all []byte
			for n := range requests {
				all = append(all, frameOf(uint16(n), 1, []byte{3, 0, byte(30 + n%100), 0, 1})...)
			}
			if _, err := connection.Write(all); err != nil {
				t.Error(err)
			}
			got := make([]byte, 11)
			for n := range requests {
				want := frameOf(uint16(n), 1, []byte{3, 2, 0x10, byte(30 + n%100)})
				if _, err := io.ReadFull(connection, got); err != nil || !bytes.Equal(got, want) {
					t.Error("answer " + strconv.Itoa(n) + " is another")
					return
				}
			}
		})
	}
	asking.Wait()
}
