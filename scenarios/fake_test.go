package scenarios

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
)

// This test binary plays the programs voltage and voltlab when it is called
// with their commands, so that the stack is tested with real processes and real
// servers, and without the services.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case "check":
			err = playCheck(os.Args[2])
		case "functions":
			err = remember("loads")
		case "serve":
			if os.Args[2] == "--site" {
				err = playServices(strings.TrimPrefix(os.Args[4], "--target="))
			} else {
				err = playPlant(os.Args[3:])
			}
		default:
			goleak.VerifyTestMain(m)
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "voltage:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func playCheck(site string) error {
	faults, err := os.ReadFile(filepath.Join(site, "faults"))
	if err != nil {
		return nil
	}
	return fmt.Errorf("%s", faults)
}

// remember counts an event in the Redis of the stack.
func remember(event string) error {
	options, err := redis.ParseURL(os.Getenv("VOLTAGE_REDIS_URL"))
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	return client.HIncrBy(context.Background(), "events", event, 1).Err()
}

// whenAsked is called before anybody can see that the program is ready, and may ask it
// to end.
func whenAsked() <-chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	return stop
}

func playPlant(arguments []string) error {
	stop := whenAsked()
	listening := map[string]bool{}
	for i := 0; i+1 < len(arguments); i += 2 {
		address := arguments[i+1]
		if arguments[i] == "--listen" {
			_, address, _ = strings.Cut(address, "=")
		}
		if listening[address] {
			continue
		}
		listening[address] = true
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(listener, fakeService()) }()
	}
	<-stop
	return nil
}

func playServices(targets string) error {
	stop := whenAsked()
	if err := remember("started " + targets); err != nil {
		return err
	}
	names := strings.Split(targets, ",")
	if targets == "all" {
		names = nil
		for _, target := range ems.Targets {
			names = append(names, string(target))
		}
	}
	for _, name := range names {
		listener, err := net.Listen("tcp", os.Getenv(strings.ToUpper(name)+"_LISTEN"))
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(listener, fakeService()) }()
	}
	<-stop
	return remember("stopped " + targets)
}

// fakeService answers what the stack asks of any service. Its one channel is
// online while something listens at the channel's address.
func fakeService() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("GET /api/channels", func(w http.ResponseWriter, _ *http.Request) {
		connection, err := net.DialTimeout("tcp", os.Getenv("COMSRV_CHANNEL_1001_ADDRESS"), time.Second)
		if err == nil {
			_ = connection.Close()
		}
		_, _ = fmt.Fprintf(w, `{"success":true,"data":[{"id":1001,"name":"pv","online":%v},{"id":1002,"name":"off","enabled":false,"online":false}]}`, err == nil)
	})
	mux.HandleFunc("GET /api/alarms", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("state") != "active" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(`{"success":true,"data":[{"id":"a"},{"id":"b"}]}`))
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("voltage_comsrv_points_total{channel=\"1001\"} 7\n"))
	})
	return mux
}
