// Package servicetest runs one service of the suite for a test and asks it over
// HTTP as its users do.
//
//	f := servicetest.New(t, ems.SystemClock{})
//	service, err := modsrv.New(modsrv.Options{Service: config.Service{Listen: servicetest.AnyPort}, DB: f.DB, …})
//	…
//	f.Run(service)
//	f.AwaitHealth(http.StatusOK)
//	f.Ask(http.MethodGet, "/api/models", "", &models)
//
// A server without Redis is run by Start. Everything ends with the test, the
// service before what it works with; one that ends with an error, or not at all,
// fails the test.
package servicetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Soon bounds what happens within a few steps of the programs under test. What
// works takes a small part of it.
const Soon = 30 * time.Second

// AnyPort is the address on which a service under test listens.
const AnyPort = "127.0.0.1:0"

// Service is what every service and every HTTP server of the suite can do.
type Service interface {
	Addr() string // host:port
	Run(ctx context.Context) error
}

// Start runs a service until stop is called, at the latest until the test ends.
// Stop returns when the service has ended.
func Start(t testing.TB, service Service) (api API, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		t.Helper()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(Soon):
			t.Errorf("the service does not stop within %v", Soon)
		}
	})
	t.Cleanup(stop)
	return API{URL: "http://" + service.Addr(), t: t}, stop
}

// Same expects two values to be equal as cmp compares them.
func Same(t testing.TB, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Errorf("-want +got:\n%s", difference)
	}
}
