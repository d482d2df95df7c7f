package apigateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
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

// aroundAlarms stands for the part of a browser that the list of alarms needs: what
// a text could become markup through ends the page. %s are the alarms, %s is the
// script; it prints every text that the page shows.
const aroundAlarms = `
class Node {
  constructor() { this.children = []; this.dataset = {}; this.textContent = ""; this.hidden = false; this.attributes = {}; }
  append(...nodes) { for (const node of nodes) { if (!(node instanceof Node)) throw new Error("text as a node"); this.children.push(node); } }
  replaceChildren(...nodes) { this.children = nodes; }
  addEventListener() {}
  setAttribute(name, value) { if (/^on|src|href|style/i.test(name)) throw new Error(name); this.attributes[name] = value; }
  set innerHTML(text) { throw new Error("innerHTML"); }
  set outerHTML(text) { throw new Error("outerHTML"); }
  insertAdjacentHTML() { throw new Error("insertAdjacentHTML"); }
}
const places = new Map();
globalThis.document = {
  getElementById(id) { if (!places.has(id)) places.set(id, new Node()); return places.get(id); },
  createElement() { return new Node(); },
};
globalThis.localStorage = { getItem() { return null; } };
globalThis.EventSource = class { addEventListener() {} };
globalThis.setTimeout = () => 0;
globalThis.fetch = async (url) => ({ json: async () => ({ success: true, data: (%s).filter((alarm) => url.includes("state=open&level=" + alarm.level + "&")) }) });
%s
readAlarms().then(() => {
  const texts = [];
  const walk = (node) => { texts.push(node.textContent); node.children.forEach(walk); };
  walk(place("alarms"));
  console.log(JSON.stringify(texts));
  process.exit(0);
});
`

// Whatever stands in an alarm is shown as it was written, and nothing of it
// becomes a part of the page.
func TestThePageShowsTextsAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("page.js")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|createContextualFragment|srcdoc`).Find(script); found != nil {
		t.Errorf("the page may take a text for markup: %s", found)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Log("no Node.js on this machine: page.js is read, not run")
		return
	}
	const title, description = `<img src=x onerror="alert(1)"> & 'quotes'`, "</span><script>alert(2)</script>\n${alert(3)} =cmd()"
	alarms, err := json.Marshal([]ems.Alarm{{
		ID: "1", Source: "pump:1", Level: ems.Minor, Title: title, Description: description, State: ems.ActiveAcknowledged, Occurrences: 1, AckedBy: "<b>Ann</b>",
	}, {ID: "2", Source: "pump:2", Level: ems.Critical, Title: "tripped", State: ems.ClearedUnacknowledged, Occurrences: 1, ClearedAt: &time.Time{}}})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), node, "-")
	command.Stdin = strings.NewReader(fmt.Sprintf(aroundAlarms, alarms, script))
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("page.js: %v\n%s", err, output)
	}
	var texts []string
	if err := json.Unmarshal(output, &texts); err != nil {
		t.Fatalf("%s: %v", output, err)
	}
	// A trip that has cleared is still to be acknowledged, and comes before what is milder.
	if at := slices.Index(texts, "tripped"); at < 0 || at > slices.Index(texts, title) || !slices.Contains(texts, "Acknowledge") {
		t.Errorf("what has tripped and cleared is not shown first, to be acknowledged: %q", texts)
	}
	if !slices.Contains(texts, title) {
		t.Errorf("the title is not shown as it was written: %q", texts)
	}
	if !slices.ContainsFunc(texts, func(text string) bool { return strings.HasSuffix(text, description+" · acknowledged by <b>Ann</b>") }) {
		t.Errorf("description and name are not shown as they were written: %q", texts)
	}
}
