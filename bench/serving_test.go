package bench

import (
	"net"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Both servers are asked in turn, and what they come to is told of each.
func TestBothServersAreAsked(t *testing.T) {
	t.Parallel()
	s := &server{clock: ems.SystemClock{}, sizes: sizes{span: 60 * time.Millisecond}}
	results, err := s.measureServing(t.Context(), newRecording(bare16Case, 3, durations()), newRecording(serve16Case, 3, durations()))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{bare16Case, serve16Case} {
		one := results[i]
		if one.Case != name || len(one.Rounds) != servingRounds || one.Calls < 3*servingRounds {
			t.Errorf("%s: %d calls in %d rounds of %s", name, one.Calls, len(one.Rounds), one.Case)
		}
		for _, round := range one.Rounds {
			if round.P50 <= 0 || round.P99 < round.P50 || round.Points < 124.9*round.PerS || round.Points > 125.1*round.PerS {
				t.Errorf("%s: %+v", name, round)
			}
		}
	}
}

// A server that answers something else is not fast, it is wrong.
func TestAWrongAnswerEndsServing(t *testing.T) {
	t.Parallel()
	s := &server{clock: ems.SystemClock{}, sizes: sizes{span: time.Minute}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = connection.Read(make([]byte, 300))
		_, _ = connection.Write(make([]byte, 9+2*servedRead))
		_ = connection.Close()
	}()
	err = s.ask(t.Context(), listener.Addr().String(), newRecording(bare16Case, 1, durations()))
	expectFault(t, "zeros", err, "a simulated device answered 00 00")
}
