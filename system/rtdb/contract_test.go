package rtdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/lua"
	"github.com/voltageems/voltageems-go/system/ems"
)

// contract is what one function of the library promises, as examples and as the
// kinds of its arguments, from which the calls that it must refuse are made.
type contract struct {
	function    string
	key         kind   // the name in KEYS[1]
	args        []kind // that are always there
	more        []kind // that follow in turn …
	least, most int    // … so often
	examples    []example
}

// example is one call: given keys, the call, its reply, and the complete
// contents of Redis afterwards. The first one of a contract succeeds.
type example struct {
	name    string
	before  []step
	key     string // without the namespace
	args    []string
	reply   any               // a text or a list
	refused string            // the exact refusal, in place of a reply
	after   map[string]string // the keys that are different afterwards, gone where they are no more
	told    []string          // every message published, with its channel in front
}

// step prepares an example: a function of the library or a command of Redis, a
// key without the namespace, and arguments. FILL adds that many entries to a
// stream, TAKE hands what is in it to a consumer of a group.
type step []string

// gone is the content of a key that does not exist.
const gone = "(gone)"

func list(items ...any) any { return append([]any{}, items...) }

// contracts lists the contract of every function.
func contracts() []contract {
	return slices.Concat(comsrvContracts(), madeContracts(), modsrvContracts(), alarmsrvContracts(), rulesrvContracts(), hissrvContracts())
}

// office runs calls of the library as a user who may touch only what a header
// names, and watches everything that they do.
type office struct {
	*bench
	restricted *redis.Client
	messages   *redis.PubSub
	namespace  ems.Namespace
	sentinels  int
}

const officeUser = "contract"

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{bench: newBench(t, "")}
	options := *o.raw.Options()
	options.Username, options.Password, options.PoolSize = officeUser, officeUser, 1
	o.restricted = redis.NewClient(&options)
	o.messages = o.raw.PSubscribe(o.ctx, "*")
	t.Cleanup(func() {
		_, _ = o.restricted.Close(), o.messages.Close()
		_ = o.raw.Do(context.Background(), "ACL", "DELUSER", officeUser).Err()
	})
	if _, err := o.messages.Receive(o.ctx); err != nil {
		t.Fatal(err)
	}
	return o
}

// permit gives the user the rights that a header asks for and no others: the
// keys, and the commands that a function may use. KEYS[1] itself may be named to
// FCALL and, being no key of the site, not be touched.
func (o *office) permit(t testing.TB, touches []lua.Access) {
	t.Helper()
	rights := []any{"ACL", "SETUSER", officeUser, "reset", "on", ">" + officeUser, "allchannels",
		"+@all", "-@dangerous", "-@admin", "-scan", "-dbsize", "-time", "-randomkey", "(+fcall +fcall_ro ~*)"}
	for _, access := range touches {
		right := "%R~"
		if access.Write {
			right = "~"
		}
		rights = append(rights, right+o.namespace.Of(glob(access.Pattern)))
	}
	if err := o.raw.Do(o.ctx, rights...).Err(); err != nil {
		t.Fatal(err)
	}
}

// glob is the pattern of Redis for a pattern of a header.
func glob(pattern string) string {
	parts := strings.Split(pattern, ":")
	for i, part := range parts {
		switch {
		case part == "{type}":
			parts[i] = "[TSCA]"
		case strings.HasPrefix(part, "{"):
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ":")
}

// prepare drops what the library remembers, and lays out the keys.
func (o *office) prepare(t testing.TB, steps []step) {
	t.Helper()
	if err := o.Load(o.ctx); err != nil {
		t.Fatal(err)
	}
	o.layOut(t, steps)
}

// layOut empties Redis and takes the steps.
func (o *office) layOut(t testing.TB, steps []step) {
	t.Helper()
	if err := o.raw.FlushAll(o.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		name, key := s[0], o.namespace.Of(s[1])
		command := []any{name, key}
		switch {
		case name == "FILL":
			command = []any{"EVAL", "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'x', '1') end return ''", 1, key}
		case name == "TAKE":
			command = []any{"EVAL", `redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
				return redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'STREAMS', KEYS[1], '>')`, 1, key}
		case strings.ToLower(name) == name:
			command = []any{"FCALL", name, 1, key}
		}
		for _, arg := range s[2:] {
			command = append(command, arg)
		}
		if err := o.raw.Do(o.ctx, command...).Err(); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	}
	o.sentinels++ // what is heard before it comes from the steps
	if err := o.raw.Publish(o.ctx, "sentinel", o.sentinels).Err(); err != nil {
		t.Fatal(err)
	}
}

// outcome is all that a call did.
type outcome struct {
	reply   any
	refusal string            // CODE and text, empty where the call succeeded
	denied  []string          // what was touched without a right, with the reason
	keys    map[string]string // everything that Redis holds afterwards
	told    []string
}

// call calls a function as the user who may touch only what was permitted.
func (o *office) call(t testing.TB, command, function string, keys, args []string) outcome {
	t.Helper()
	words := []any{command, function, len(keys)}
	for _, text := range slices.Concat(keys, args) {
		words = append(words, text)
	}
	var done outcome
	reply, err := o.restricted.Do(o.ctx, words...).Result()
	done.reply = reply
	if err != nil {
		done.refusal = err.Error()
	}
	pipeline := o.raw.Pipeline()
	denied := pipeline.ACLLog(o.ctx, 100)
	contents := pipeline.Eval(o.ctx, contentsScript, nil)
	o.sentinels++
	pipeline.Publish(o.ctx, "sentinel", o.sentinels)
	if _, err := pipeline.Exec(o.ctx); err != nil {
		t.Fatal(err)
	}
	done.denied = o.denied(t, denied.Val())
	done.keys = shownContents(t, contents)
	done.told = o.heard(t)
	return done
}

// denied tells what the log says that the user was denied, and empties it. A
// function may hide the error that it got, so Redis itself is asked.
func (o *office) denied(t testing.TB, entries []*redis.ACLLogEntry) []string {
	t.Helper()
	if len(entries) == 0 {
		return nil
	}
	var denied []string
	for _, entry := range entries {
		denied = append(denied, entry.Reason+" "+entry.Object)
	}
	slices.Sort(denied)
	if err := o.raw.ACLLogReset(o.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	return denied
}

// heard returns what was published before the last sentinel, each as channel and
// message.
func (o *office) heard(t testing.TB) []string {
	t.Helper()
	var told []string
	for {
		message, err := o.messages.ReceiveMessage(o.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if message.Channel == "sentinel" {
			if message.Payload == strconv.Itoa(o.sentinels) {
				return told
			}
			told = nil // of before
			continue
		}
		if !json.Valid([]byte(message.Payload)) {
			t.Errorf("%s is told %q, which is no JSON", message.Channel, message.Payload)
		}
		told = append(told, message.Channel+" "+message.Payload)
	}
}

// contentsScript shows every key as text: fields and members in order, entries of
// streams with their consumer groups and what is pending there, and the lifetime.
// An id that Redis itself gave to an entry is a '*'.
const contentsScript = `
local function pairs_of(flat)
  local shown = {}
  for i = 1, #flat, 2 do shown[#shown + 1] = flat[i] .. '=' .. flat[i + 1] end
  return shown
end
local function sorted(texts) table.sort(texts) return table.concat(texts, ' ') end
local function id_of(id) return #string.match(id, '^%d+') > 12 and '*' or id end
local function stream(key)
  local lines = {}
  if redis.call('XLEN', key) > 1000 then
    lines[1] = redis.call('XLEN', key) .. ' entries'
  else
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
      lines[#lines + 1] = id_of(entry[1]) .. ' ' .. table.concat(pairs_of(entry[2]), ' ')
    end
  end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local line = 'group ' .. group[2]
    for _, pending in ipairs(redis.call('XPENDING', key, group[2], '-', '+', 1000)) do
      line = line .. ' ' .. id_of(pending[1]) .. '@' .. pending[2]
    end
    lines[#lines + 1] = line
  end
  return table.concat(lines, '\n')
end
local shown = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, text = redis.call('TYPE', key).ok
  if kind == 'string' then text = redis.call('GET', key)
  elseif kind == 'hash' then text = sorted(pairs_of(redis.call('HGETALL', key)))
  elseif kind == 'list' then text = table.concat(redis.call('LRANGE', key, 0, -1), '\n')
  elseif kind == 'set' then text = sorted(redis.call('SMEMBERS', key))
  elseif kind == 'zset' then text = table.concat(pairs_of(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')), ' ')
  elseif kind == 'stream' then text = stream(key) end
  local left = redis.call('PTTL', key)
  if left >= 0 then text = text .. ' (expires in ' .. math.ceil(left / 60000) .. ' min)' end
  shown[#shown + 1] = key
  shown[#shown + 1] = text
end
return shown`

func (o *office) contents(t testing.TB) map[string]string {
	t.Helper()
	return shownContents(t, o.raw.Eval(o.ctx, contentsScript, nil))
}

func shownContents(t testing.TB, reply *redis.Cmd) map[string]string {
	t.Helper()
	texts, err := reply.StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for i := 0; i < len(texts); i += 2 {
		contents[texts[i]] = texts[i+1]
	}
	return contents
}

// variant is one of the ways in which the same call can be made.
type variant struct {
	namespace ems.Namespace
	command   string
	name      string // of the function
	second    string // KEYS[2], empty where there is none
}

// variants are all names of a function and both kinds of site.
func variants(function *lua.Function) []variant {
	north := variant{namespace: "{north}:", command: "FCALL", name: function.Name, second: "comsrv:1001:T"}
	if function.ReadOnly() {
		north.command = "FCALL_RO"
	}
	all := []variant{north}
	for _, name := range function.Names() {
		all = append(all, variant{command: "FCALL", name: name})
	}
	return all
}

// try calls an example in one of the ways and returns what is wrong with it.
func (o *office) try(t testing.TB, e *example, v variant) (faults []string) {
	t.Helper()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	o.prepare(t, e.before)
	want := o.contents(t)
	keys := []string{v.namespace.Of(e.key)}
	if v.second != "" {
		keys = append(keys, v.namespace.Of(v.second))
	}
	got := o.call(t, v.command, v.name, keys, e.args)
	if len(got.denied) > 0 {
		fault("the header does not name: %s", strings.Join(got.denied, ", "))
	}
	if got.refusal != e.refused {
		fault("refused with %q, want %q", got.refusal, e.refused)
	}
	if difference := cmp.Diff(e.reply, got.reply); difference != "" {
		fault("reply (-want +got):\n%s", difference)
	}
	if e.refused != "" && len(e.after) > 0 {
		fault("a refusal changes no key")
	}
	for key, text := range e.after {
		key = v.namespace.Of(key)
		before, found := want[key]
		if text == gone && !found || text != gone && found && text == before {
			fault("%s is the same as before", key)
		}
		if text == gone {
			delete(want, key)
		} else {
			want[key] = text
		}
	}
	if difference := cmp.Diff(want, got.keys); difference != "" {
		fault("keys (-want +got):\n%s", difference)
	}
	var told []string
	for _, message := range e.told {
		told = append(told, v.namespace.Of(message))
	}
	if difference := cmp.Diff(told, got.told); difference != "" {
		fault("messages (-want +got):\n%s", difference)
	}
	return faults
}

// fulfil holds functions against their contracts.
func fulfil(t *testing.T, all []contract) {
	o := newOffice(t)
	examples := map[string][]example{}
	for _, c := range all {
		function := functionOf(t, o, c.function)
		examples[c.function] = append(examples[c.function], c.examples...)
		t.Run(c.function, func(t *testing.T) {
			for _, v := range variants(function) {
				o.namespace = v.namespace
				o.permit(t, function.Touches)
				for _, e := range c.examples {
					for _, fault := range o.try(t, &e, v) {
						t.Errorf("%s: %s%s: %s", e.name, v.namespace, v.name, fault)
					}
				}
			}
			o.namespace = ""
			for _, fault := range o.attempt(t, &c, function) {
				t.Error(fault)
			}
		})
	}
	for name, all := range examples {
		t.Run("keys of "+name, func(t *testing.T) {
			for _, fault := range o.needEveryKey(t, functionOf(t, o, name), all) {
				t.Error(fault)
			}
		})
	}
}

func functionOf(t testing.TB, o *office, name string) *lua.Function {
	t.Helper()
	functions := o.Library().Functions
	at := slices.IndexFunc(functions, func(f lua.Function) bool { return f.Name == name })
	if at < 0 {
		t.Fatalf("the library has no function %s", name)
	}
	return &functions[at]
}

// needEveryKey takes each right away that the header itself asks for: an example
// must miss it, or the header asks for too much or the examples are too few.
func (o *office) needEveryKey(t testing.TB, function *lua.Function, examples []example) (faults []string) {
	t.Helper()
	for i, access := range function.Touches {
		if access.As != "" {
			continue
		}
		rights, probe := slices.Clone(function.Touches), "SET"
		rights[i].Write = false
		if !access.Write {
			rights, probe = slices.Delete(rights, i, i+1), "GET"
		}
		o.permit(t, rights)
		// Where another pattern of the header stands for this key too, nothing is missed.
		sample := strings.NewReplacer("[TSCA]", "T", "*", "1").Replace(glob(access.Pattern))
		verdict, err := o.raw.Do(o.ctx, "ACL", "DRYRUN", officeUser, probe, sample, "x").Text()
		if probe == "GET" {
			verdict, err = o.raw.Do(o.ctx, "ACL", "DRYRUN", officeUser, probe, sample).Text()
		}
		if err != nil {
			t.Fatal(err)
		}
		if verdict == "OK" {
			continue
		}
		missed := slices.ContainsFunc(examples, func(e example) bool {
			o.prepare(t, e.before)
			return len(o.call(t, "FCALL", function.Name, []string{e.key}, e.args).denied) > 0
		})
		if !missed {
			faults = append(faults, fmt.Sprintf("the header asks for %s %s, which no example needs", access.Pattern, map[bool]string{true: "w", false: "r"}[access.Write]))
		}
	}
	return faults
}

func TestEveryFunctionHasAContract(t *testing.T) {
	t.Parallel()
	library, err := lua.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	promised := map[string]int{} // several where the arguments take several forms
	for _, c := range contracts() {
		promised[c.function]++
		if len(c.examples) == 0 || c.examples[0].refused != "" {
			t.Errorf("the first example of %s must succeed", c.function)
		}
	}
	for _, function := range library.Functions {
		if promised[function.Name] == 0 {
			t.Errorf("%s has no contract: give it one in system/rtdb/contract_%s_test.go", function.Name, strings.SplitN(function.File, "/", 2)[0])
		}
		delete(promised, function.Name)
	}
	for name := range maps.Keys(promised) {
		t.Errorf("there is a contract for %s, which the library does not have", name)
	}
}
