package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// directive is one directive of an nginx configuration with the block behind it.
type directive struct {
	words []string
	block []directive
}

// find returns the directives of a block that begin with these words.
func find(block []directive, words ...string) []directive {
	var found []directive
	for _, one := range block {
		if len(one.words) >= len(words) && slices.Equal(one.words[:len(words)], words) {
			found = append(found, one)
		}
	}
	return found
}

// parseNginx reads words, quoted texts, blocks and comments.
func parseNginx(t *testing.T, text string) []directive {
	t.Helper()
	var word strings.Builder
	stack := [][]directive{nil}
	var words []string
	var open [][]string
	quote, comment, quoted := rune(0), false, false
	end := func() {
		if word.Len() > 0 || quoted {
			words = append(words, word.String())
		}
		word.Reset()
		quoted = false
	}
	for _, char := range text {
		switch {
		case comment:
			comment = char != '\n'
		case quote != 0:
			if char == quote {
				quote = 0
			} else {
				word.WriteRune(char)
			}
		case char == '"' || char == '\'':
			quote, quoted = char, true
		case char == '#' && word.Len() == 0:
			comment = true
		case char == ' ' || char == '\n' || char == '\t':
			end()
		case char == ';':
			end()
			stack[len(stack)-1] = append(stack[len(stack)-1], directive{words: words})
			words = nil
		case char == '{' && word.Len() == 0:
			open, stack, words = append(open, words), append(stack, nil), nil
		case char == '}' && word.Len() == 0:
			if len(open) == 0 || len(words) > 0 {
				t.Fatal("nginx.conf: a brace too many, or a semicolon too few")
			}
			block := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			stack[len(stack)-1] = append(stack[len(stack)-1], directive{words: open[len(open)-1], block: block})
			open = open[:len(open)-1]
		default:
			word.WriteRune(char)
		}
	}
	if len(open) > 0 || len(words) > 0 || quote != 0 {
		t.Fatal("nginx.conf ends in the middle")
	}
	return stack[0]
}

// value returns the one value of a directive of a block.
func value(t *testing.T, block []directive, words ...string) string {
	t.Helper()
	found := find(block, words...)
	if len(found) != 1 {
		t.Errorf("nginx.conf has %q %d times, want once", strings.Join(words, " "), len(found))
		return ""
	}
	return strings.Join(found[0].words[len(words):], " ")
}

func TestNginxPassesEverythingToTheGateway(t *testing.T) {
	http := find(parseNginx(t, read(t, "nginx.conf")), "http")
	if len(http) != 1 {
		t.Fatal("nginx.conf has no single http block")
	}
	servers := find(http[0].block, "server")
	if len(servers) != 1 {
		t.Fatal("nginx.conf has no single server")
	}
	server := servers[0].block
	// A name in a variable is looked up again; the gateway may get a new address.
	gateway := "http://apigateway:" + strconv.Itoa(ems.Apigateway.Port())
	if value(t, server, "listen") != "80" || value(t, server, "set", "$gateway") != gateway || !strings.HasPrefix(value(t, http[0].block, "resolver"), "127.0.0.11 ") {
		t.Error("the server does not listen on 80, or does not look the gateway up")
	}
	for _, location := range [][]string{{"/"}, {"/api"}, {"=", "/api/events"}} {
		found := find(server, append([]string{"location"}, location...)...)
		if len(found) != 1 || value(t, found[0].block, "proxy_pass") != "$gateway" {
			t.Errorf("location %v does not lead to the gateway", location)
		}
	}
	events := find(server, "location", "=", "/api/events")[0].block
	if value(t, events, "proxy_buffering") != "off" || value(t, events, "proxy_read_timeout") != "1h" {
		t.Error("events are held back, or cut off")
	}
	for words, want := range map[string]string{
		"proxy_http_version":                    "1.1",
		"proxy_set_header Host":                 "$http_host", // with its port, or writes from the page are refused
		"proxy_set_header Connection":           "",
		"proxy_read_timeout":                    "90s", // above the 75 s that the gateway grants a service
		"proxy_connect_timeout":                 "2s",
		"proxy_next_upstream":                   "off",
		"add_header X-Content-Type-Options":     "nosniff always",
		"add_header X-Frame-Options":            "DENY always",
		"add_header Referrer-Policy":            "no-referrer always",
		"proxy_hide_header":                     "",
		"add_header Permissions-Policy":         "camera=(), geolocation=(), microphone=() always",
		"add_header Cross-Origin-Opener-Policy": "same-origin always",
	} {
		if words == "proxy_hide_header" {
			if hidden := find(server, words); len(hidden) != 2 {
				t.Errorf("%d headers of the gateway are hidden, want the 2 that nginx sets itself", len(hidden))
			}
			continue
		}
		if got := value(t, server, strings.Fields(words)...); got != want {
			t.Errorf("%s is %q, want %q", words, got, want)
		}
	}
	// A location with headers of its own would lose those of the server.
	for _, one := range find(server, "location") {
		if len(find(one.block, "add_header")) > 0 || len(find(one.block, "proxy_set_header")) > 0 {
			t.Errorf("location %v sets headers of its own", one.words)
		}
	}
	if value(t, find(server, "location", "=", "/metrics")[0].block, "return") != "404" {
		t.Error("the metrics of the gateway are open to everybody")
	}
	if value(t, http[0].block, "server_tokens") != "off" || value(t, http[0].block, "client_max_body_size") != "1m" {
		t.Error("nginx tells its version, or takes bodies of another size than the services")
	}
	for _, timeout := range []string{"client_header_timeout", "client_body_timeout", "send_timeout", "keepalive_timeout"} {
		if value(t, http[0].block, timeout) == "" {
			t.Errorf("%s is not set", timeout)
		}
	}
}

// nginx itself in front of a stand-in for the gateway, where there is an nginx.
// Only addresses and folders are replaced in its configuration.
func TestNginxServesTheGateway(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Log("no nginx on this machine: nginx.conf is judged by its directives alone")
		return
	}
	released := make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.URL.Path == "/api/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "data: first\n\n")
			_ = http.NewResponseController(w).Flush()
			<-released
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %s for %s", r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("X-Forwarded-For"))
	}))
	defer gateway.Close()
	defer close(released)
	port := strconv.Itoa(testkit.FreePort(t))
	address := "127.0.0.1:" + port
	startNginx(t, program, address, gateway.URL)

	ask := func(path string) (*http.Response, string) {
		t.Helper()
		reply, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reply.Body.Close() }()
		if strings.HasSuffix(path, "/events") { // the first event comes while the stream is open
			event := make([]byte, len("data: first\n\n"))
			_, err := io.ReadFull(reply.Body, event)
			if err != nil {
				t.Fatal(err)
			}
			return reply, string(event)
		}
		body, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply, string(body)
	}
	for path, want := range map[string]string{
		"/":                         "GET / " + address + " for 127.0.0.1",
		"/api/models?after=a%2Fb+c": "GET /api/models?after=a%2Fb+c " + address + " for 127.0.0.1",
		"/api/events":               "data: first\n\n",
		"/nginx-health":             "ok\n",
	} {
		reply, body := ask(path)
		if reply.StatusCode != http.StatusOK || body != want {
			t.Errorf("%s: %s %q, want %q", path, reply.Status, body, want)
		}
		for _, header := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Permissions-Policy"} {
			if got := reply.Header.Values(header); len(got) != 1 {
				t.Errorf("%s: %s is %q, want one value", path, header, got)
			}
		}
	}
	if reply, _ := ask("/metrics"); reply.StatusCode != http.StatusNotFound {
		t.Errorf("/metrics: %s", reply.Status)
	}
	if err := gateway.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	gateway.CloseClientConnections()
	reply, body := ask("/api/models")
	if reply.StatusCode != http.StatusServiceUnavailable || reply.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(body)) ||
		!strings.Contains(body, `"code":"UNAVAILABLE"`) {
		t.Errorf("without a gateway: %s %s", reply.Status, body)
	}
}

func startNginx(t *testing.T, program, address, gateway string) {
	t.Helper()
	folder := t.TempDir()
	types := filepath.Join(folder, "mime.types")
	text := strings.NewReplacer("listen 80;", "listen "+address+";", "http://apigateway:6005", gateway, "/tmp/", folder+"/",
		"/etc/nginx/mime.types", types, "/dev/stdout", folder+"/access.log").Replace(read(t, "nginx.conf"))
	file := filepath.Join(folder, "nginx.conf")
	for path, content := range map[string]string{types: "types { text/html html; }", file: text} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := exec.CommandContext(t.Context(), program, "-t", "-q", "-c", file).CombinedOutput(); err != nil || len(output) > 0 {
		t.Fatalf("nginx -t: %v\n%s", err, output)
	}
	process, err := managed.StartReady(t.Context(), ems.SystemClock{}, managed.Child{
		Name: "nginx", ReadyWithin: 30 * time.Second,
		Start: func(context.Context) (*managed.Process, error) {
			return managed.StartProcess(managed.Command{
				Name: "nginx", Path: program, Args: []string{"-c", file, "-g", "daemon off;"}, Line: func(line string) { t.Log(line) },
			})
		},
		Probe: func(ctx context.Context, _ int) error {
			connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = connection.Close()
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := process.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}
