package managed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

func freePort(t *testing.T) int {
	t.Helper()
	port, release, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return port
}

func newRedis(t *testing.T, password string) (*Redis, *lineRecord) {
	t.Helper()
	binary, err := FindRedis(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	record := newLineRecord()
	return &Redis{Binary: binary, Dir: filepath.Join(t.TempDir(), `with "quote" and space`), Port: freePort(t), Password: password, Line: record.take}, record
}

func redisChild(r *Redis) Child { return Child{Name: "redis", Start: r.Start, Probe: r.Probe} }

func redisClient(t *testing.T, r *Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

const testLibrary = "#!lua name=probe\nredis.register_function{function_name='answer', callback=function() return '42' end, flags={'no-writes'}}"

func TestRedisKeepsDataAndFunctionsThroughAKill(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server, _ := newRedis(t, `pass "word" \ 1`)
	s := supervise(t, ems.SystemClock{}, redisChild(server))
	s.awaitReady(t)
	client := redisClient(t, server)
	for name, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "save": "", "hash-max-listpack-entries": "64", "bind": "127.0.0.1",
	} {
		if got, err := client.ConfigGet(ctx, name).Result(); err != nil || got[name] != want {
			t.Errorf("%s is %q, want %q (%v)", name, got[name], want, err)
		}
	}
	if err := client.FunctionLoad(ctx, testLibrary).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.HSet(ctx, "comsrv:1001:T", "1", "23.456789").Err(); err != nil {
		t.Fatal(err)
	}
	// With appendfsync everysec Redis holds writes back while an fsync runs.
	await(t, "the writes to reach the file", func() bool {
		info, err := client.Info(ctx, "persistence").Result()
		return err == nil && strings.Contains(info, "aof_buffer_length:0\r\n") && strings.Contains(info, "aof_pending_bio_fsync:0\r\n")
	})
	if err := syscall.Kill(s.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "a restart", func() bool { return s.Status()[0].Restarts == 1 })
	s.awaitReady(t)
	if got, err := client.HGet(ctx, "comsrv:1001:T", "1").Result(); got != "23.456789" || err != nil {
		t.Errorf("after the restart the value is %q (%v)", got, err)
	}
	if got, err := client.FCall(ctx, "answer", nil).Text(); got != "42" || err != nil {
		t.Errorf("after the restart the function answers %q (%v)", got, err)
	}
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
}

func TestRedisRefusesAWrongPassword(t *testing.T) {
	t.Parallel()
	server, _ := newRedis(t, "right")
	s := supervise(t, ems.SystemClock{}, redisChild(server))
	s.awaitReady(t)
	wrong := *server
	wrong.Password = "wrong"
	if err := wrong.Probe(context.Background(), s.Status()[0].PID); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("probe: %v", err)
	}
}

func TestRedisOnATakenPort(t *testing.T) {
	t.Parallel()
	server, _ := newRedis(t, "")
	s := supervise(t, ems.SystemClock{}, redisChild(server))
	s.awaitReady(t)
	second, _ := newRedis(t, "")
	second.Port = server.Port
	err := supervise(t, ems.SystemClock{}, redisChild(second)).end(t)
	if err == nil || !strings.Contains(err.Error(), "redis-server ended with exit status 1") || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("error %v", err)
	}
	if err := server.Probe(context.Background(), s.Status()[0].PID+1); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("a foreign server on the port: %v", err)
	}
}

// fakeProgram puts a shell script of that name into a folder of its own.
func fakeProgram(t *testing.T, name, script string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestFindRedis(t *testing.T) {
	for _, test := range []struct {
		name, program, script string
		code                  ems.Code
		want                  string
	}{
		{"too old", "redis-server", "echo Redis server v=6.0.16 sha=0 malloc=jemalloc bits=64", ems.CodeConflict, "is Redis 6.0.16, which has no functions: install version 7 or newer"},
		{"no version", "redis-server", "echo hello; echo world", ems.CodeUnavailable, `it answered "hello"`},
		{"broken", "redis-server", "exit 4", ems.CodeUnavailable, "--version failed: exit status 4"},
		{"none", "something-else", "", ems.CodeNotFound, "no redis-server on PATH: run make setup, or install Redis 7 or newer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", fakeProgram(t, test.program, test.script))
			_, err := FindRedis(context.Background())
			if ems.CodeOf(err) != test.code || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
	t.Run("newer", func(t *testing.T) {
		folder := fakeProgram(t, "redis-server", "echo Redis server v=8.2.1 sha=0 malloc=jemalloc bits=64")
		t.Setenv("PATH", folder)
		got, err := FindRedis(context.Background())
		if want := (RedisBinary{Path: filepath.Join(folder, "redis-server"), Version: "8.2.1"}); got != want || err != nil {
			t.Errorf("found %+v, want %+v (%v)", got, want, err)
		}
	})
}

// Debian's package redis-tools alone must do.
func TestRedisUnderItsOtherName(t *testing.T) {
	usual, err := FindRedis(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.EvalSymlinks(usual.Path)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(program, filepath.Join(folder, "redis-check-rdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	found, err := FindRedis(context.Background())
	if err != nil || found.Version != usual.Version {
		t.Fatalf("found %+v (%v), want version %s", found, err, usual.Version)
	}
	server := &Redis{Binary: found, Dir: t.TempDir(), Port: freePort(t)}
	supervise(t, ems.SystemClock{}, redisChild(server)).awaitReady(t)
}

func TestCheckFreeNamesEveryTakenAddress(t *testing.T) {
	t.Parallel()
	var taken []Endpoint
	for i := range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		taken = append(taken, Endpoint{Name: fmt.Sprintf("taken%d", i), Address: listener.Addr().String()})
	}
	free := Endpoint{Name: "free", Address: localAddress(freePort(t))}
	if err := CheckFree([]Endpoint{free}); err != nil {
		t.Errorf("a free address: %v", err)
	}
	nowhere := Endpoint{Name: "nowhere", Address: "192.0.2.1:1"}
	err := CheckFree([]Endpoint{taken[0], free, taken[1], nowhere})
	want := fmt.Sprintf("in use already: %s (taken0), %s (taken1); stop what listens there (ss -ltnp shows it) and try again; no listening possible: nowhere: listen tcp 192.0.2.1:1: bind: cannot assign requested address",
		taken[0].Address, taken[1].Address)
	if err == nil || err.Error() != want || ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

func TestReservedPortHasOneOwner(t *testing.T) {
	t.Parallel()
	port, release, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckFree([]Endpoint{{Address: localAddress(port)}}); err != nil || port < firstReserved || port > lastReserved {
		t.Errorf("port %d: %v", port, err)
	}
	take := func() error {
		taken, err := net.ListenPacket("udp4", localAddress(port))
		if err != nil {
			return err
		}
		return taken.Close()
	}
	if err := take(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another gets it: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if err := take(); err != nil {
		t.Errorf("not given back: %v", err)
	}
}

// reserveAlone makes a process of this test reserve ports and do nothing else.
const reserveAlone = "VOLTAGE_TEST_RESERVE_PORTS"

// Three processes hold 50 ports each: no two the same, and none leaves anything
// in the folders of the user and of temporary files.
func TestReservedPortsAreOnesOwnAmongProcessesAndLeaveNoFiles(t *testing.T) {
	if os.Getenv(reserveAlone) != "" {
		for range 50 {
			port, _, err := ReservePort() // held until this process ends
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("reserved", port)
		}
		fmt.Println("all")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	t.Parallel()
	folder := t.TempDir()
	var reserved []string
	for range 3 {
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		command.Env = append(os.Environ(), reserveAlone+"=1", "TMPDIR="+folder, "HOME="+folder, "XDG_CACHE_HOME="+folder)
		hold, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(hold.Close(), command.Wait()); err != nil {
				t.Error(err)
			}
		}()
		lines := bufio.NewScanner(output)
		for lines.Scan() && lines.Text() != "all" {
			reserved = append(reserved, lines.Text())
		}
	}
	slices.Sort(reserved)
	if distinct := slices.Compact(slices.Clone(reserved)); len(reserved) != 150 || len(distinct) != 150 {
		t.Errorf("%d ports reserved, %d different: %q", len(reserved), len(distinct), reserved)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left outside the checkout: %v (%v)", left, err)
	}
}

func TestRedisFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := &Redis{Dir: filepath.Join(file, "below")}
	if _, err := server.Start(context.Background()); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("error %v", err)
	}
}
