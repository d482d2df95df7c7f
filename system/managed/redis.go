package managed

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// leastRedis is the oldest major version that knows functions.
const leastRedis = 7

// RedisBinary is a Redis server program on this machine.
type RedisBinary struct {
	Path    string
	Version string // for example "7.0.15"
}

// FindRedis looks for a Redis server on PATH. Error codes: NotFound when there
// is none, Conflict when it is older than version 7.
//
// Debian keeps the server in the package redis-tools under the name
// redis-check-rdb, and its package redis-server adds little but a link and a
// system service. The program acts by the name it is called with, so the tools
// alone are enough.
func FindRedis(ctx context.Context) (RedisBinary, error) {
	for _, name := range []string{"redis-server", "redis-check-rdb"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		version, err := redisVersion(ctx, path)
		if err != nil {
			return RedisBinary{}, err
		}
		major, _, _ := strings.Cut(version, ".")
		if number, err := strconv.Atoi(major); err != nil || number < leastRedis {
			return RedisBinary{}, ems.Errorf(ems.CodeConflict,
				"%s is Redis %s, which has no functions: install version %d or newer (https://redis.io/docs/latest/operate/oss_and_stack/install/) and put it first on PATH", path, version, leastRedis)
		}
		return RedisBinary{Path: path, Version: version}, nil
	}
	return RedisBinary{}, ems.Errorf(ems.CodeNotFound, "no redis-server on PATH: run make setup, or install Redis %d or newer", leastRedis)
}

func redisVersion(ctx context.Context, path string) (string, error) {
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Args[0] = "redis-server"
	cmd.Env = redisEnvironment()
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", ems.Errorf(ems.CodeUnavailable, "%s --version failed: %w", path, err)
	}
	found := regexp.MustCompile(`\bv=(\d+\.\d+\.\d+)`).FindSubmatch(output)
	if found == nil {
		return "", ems.Errorf(ems.CodeUnavailable, "%s does not tell its version: it answered %q", path, firstLine(string(output)))
	}
	return string(found[1]), nil
}

// redisEnvironment keeps Redis from refusing to start under a locale that is
// not installed.
func redisEnvironment() []string { return append(os.Environ(), "LC_ALL=C") }

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// Redis describes a managed Redis server on the loopback address. Every write
// goes to the append-only file, functions included, so that both are there
// again after a restart.
type Redis struct {
	Binary   RedisBinary
	Dir      string // of its data and configuration; created
	Port     int
	Password string // none if empty
	BusPort  int    // of a cluster's node, on which it talks to the others; 0 for a single Redis
	Line     func(string)
}

// Addr returns host:port.
func (r *Redis) Addr() string { return localAddress(r.Port) }

// URL returns the address in the form that clients take.
func (r *Redis) URL() string {
	address := url.URL{Scheme: "redis", Host: r.Addr()}
	if r.Password != "" {
		address.User = url.UserPassword("", r.Password)
	}
	return address.String()
}

// Start starts the server.
func (r *Redis) Start(context.Context) (*Process, error) {
	config := filepath.Join(r.Dir, "redis.conf")
	if err := writeConfiguration(config, r.configuration()); err != nil {
		return nil, err
	}
	return StartProcess(Command{
		Name: "redis-server", Path: r.Binary.Path, Argv0: "redis-server", Args: []string{config},
		Env: redisEnvironment(), Line: r.Line, DeathSignal: syscall.SIGTERM,
	})
}

// configuration returns the text of redis.conf. Hashes leave the compact
// encoding early, because writing 100 fields of a long compact hash is ten
// times slower.
func (r *Redis) configuration() string {
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", r.Port),
		"dir " + strconv.Quote(r.Dir),
		"daemonize no",
		"appendonly yes",
		"appendfsync everysec",
		`save ""`,
		"hash-max-listpack-entries 64",
	}
	if r.Password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(r.Password))
	}
	if r.BusPort != 0 {
		lines = append(lines, "cluster-enabled yes", fmt.Sprintf("cluster-port %d", r.BusPort), "cluster-config-file nodes.conf")
	}
	return strings.Join(lines, "\n") + "\n"
}

// Probe answers nil once the process with that id answers commands on the port.
// It compares the process id, because another server might hold the port.
func (r *Redis) Probe(ctx context.Context, pid int) error {
	// The client would report a closed port on standard error by itself.
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", r.Addr())
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "Redis does not answer: %w", err)
	}
	_ = connection.Close() // nothing was sent
	client := redis.NewClient(&redis.Options{Addr: r.Addr(), Password: r.Password, MaxRetries: -1, DialerRetries: 1, PoolSize: 1})
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "Redis on %s does not answer: %w", r.Addr(), err)
	}
	// INFO is answered while the append-only file is still being read.
	if err := client.Ping(ctx).Err(); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "Redis on %s is not ready: %w", r.Addr(), err)
	}
	if want := fmt.Sprintf("process_id:%d\r\n", pid); !strings.Contains(info, want) {
		return ems.Errorf(ems.CodeConflict, "another Redis answers on %s", r.Addr())
	}
	return nil
}

// writeConfiguration writes a file that only its owner can read, because it may
// hold a password.
func writeConfiguration(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "data folder cannot be made: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "configuration cannot be written: %w", err)
	}
	return nil
}
