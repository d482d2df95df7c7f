package apigateway_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// around stands for the part of a browser that the health of the services needs.
// The page asks a gateway that runs, at the address %s, and prints what it shows.
const around = `
class Node {
  constructor() { this.children = []; this.dataset = {}; this.textContent = ""; this.hidden = false; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  addEventListener() {}
}
const places = new Map();
globalThis.document = {
  getElementById(id) { if (!places.has(id)) places.set(id, new Node()); return places.get(id); },
  createElement() { return new Node(); },
};
globalThis.localStorage = { getItem() { return null; } };
globalThis.EventSource = class { addEventListener() {} };
globalThis.setTimeout = () => 0;
const reach = globalThis.fetch;
globalThis.fetch = (path, options) => reach("%s" + path, options);
%s
readHealth().then(() => {
  for (const item of place("services").children) {
    const [row, ...details] = item.children;
    console.log(row.children.map((node) => node.textContent).join(" "));
    for (const node of details) console.log(node.textContent);
  }
  console.log("notice: " + place("notice").textContent);
  process.exit(0);
});
`

// expectOnPage expects the page to show these lines of health and no notice. The
// script itself runs where there is a Node.js; elsewhere it is only read.
func expectOnPage(t *testing.T, f *fixture, want []string) {
	t.Helper()
	_, script := f.Ask(http.MethodGet, "/page.js", "", nil)
	if regexp.MustCompile(`\bask\("/health`).MatchString(script) {
		t.Error("the page takes ill health for a failed request, and does not show it")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Log("no Node.js on this machine: page.js is read, not run")
		return
	}
	command := exec.CommandContext(t.Context(), node, "-")
	command.Stdin = strings.NewReader(fmt.Sprintf(around, f.URL, script))
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("page.js: %v\n%s", err, output)
	}
	got := strings.Split(strings.TrimSpace(string(output)), "\n")
	want = append(slices.Clone(want), "notice:")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the page shows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
