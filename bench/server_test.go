package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestARunThatEndsWithItsRedisSaysHowThatEnded(t *testing.T) {
	t.Parallel()
	server, err := openServer(t.Context(), ems.SystemClock{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.close(context.Background()) }() // there is nothing left to clear up in Redis
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := failed(ctx, "round 1", pingCase, ctx.Err())
	for _, fault := range []error{stopped, ems.Errorf(ems.CodeInternal, "wrong"), ems.Errorf(ems.CodeUnavailable, "slow")} {
		if got := server.explain(fault); !errors.Is(got, fault) || got.Error() != fault.Error() {
			t.Errorf("while Redis runs %v becomes %v", fault, got)
		}
	}
	go server.process.Kill()
	deadline := time.Now().Add(30 * time.Second)
	for err = nil; err == nil && time.Now().Before(deadline); {
		err = server.db.Ping(t.Context())
	}
	got := server.explain(err)
	if ems.CodeOf(got) != ems.CodeUnavailable || !errors.Is(got, err) || !strings.HasSuffix(got.Error(), ": redis-server ended with signal: killed") {
		t.Errorf("%v", got)
	}
	if got := server.explain(stopped); got.Error() != stopped.Error() {
		t.Errorf("an interrupt becomes %v", got)
	}
}
