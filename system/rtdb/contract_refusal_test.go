package rtdb_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/lua"
)

// attempt is a call of which the outcome follows from the contract alone.
type attempt struct {
	what  string
	keys  []string
	args  []string
	legal bool // it is sound, and may be refused for the state of things alone
}

// fits reports whether so many arguments are a call.
func (c *contract) fits(count int) bool {
	count -= len(c.args)
	if len(c.more) == 0 {
		return count == 0
	}
	return count%len(c.more) == 0 && c.least <= count/len(c.more) && count/len(c.more) <= c.most
}

func (c *contract) kindOf(arg int) kind {
	if arg < len(c.args) {
		return c.args[arg]
	}
	return c.more[(arg-len(c.args))%len(c.more)]
}

// attempts are the calls that differ from the first example in one thing.
func (c *contract) attempts() []attempt {
	sound := c.examples[0]
	keys := []string{sound.key}
	var all []attempt
	for i, arg := range sound.args {
		fewer := slices.Delete(slices.Clone(sound.args), i, i+1)
		if !c.fits(len(fewer)) { // where it fits, the arguments after it are seen as of other kinds
			all = append(all, attempt{what: fmt.Sprintf("without argument %d", i+1), keys: keys, args: fewer})
		}
		for _, text := range nonsense(arg) {
			changed := slices.Clone(sound.args)
			changed[i] = text
			k := c.kindOf(i)
			all = append(all, attempt{
				what: fmt.Sprintf("argument %d (%s) as %.40q of %d bytes", i+1, k.what, text, len(text)), keys: keys, args: changed, legal: k.legal(text),
			})
		}
	}
	for count := range sound.args {
		if !c.fits(count) {
			all = append(all, attempt{what: fmt.Sprintf("with %d arguments", count), keys: keys, args: sound.args[:count]})
		}
	}
	many := slices.Clone(sound.args)
	for len(many) < len(c.args)+len(c.more)*c.most {
		many = append(many, sound.args[len(sound.args)-max(1, len(c.more)):]...)
	}
	for _, extra := range [][]string{{""}, {"x"}, {"1"}, sound.args} {
		if most := append(slices.Clone(many), extra...); !c.fits(len(most)) {
			all = append(all, attempt{what: fmt.Sprintf("with %q after the last argument", extra), keys: keys, args: most})
		}
	}
	return append(all, c.keyAttempts()...)
}

func (c *contract) keyAttempts() []attempt {
	sound := c.examples[0]
	var all []attempt
	add := func(what string, legal bool, keys ...string) {
		all = append(all, attempt{what: fmt.Sprintf("%s %.80q", what, keys), keys: keys, args: sound.args, legal: legal})
	}
	for _, name := range nonsense(sound.key) {
		if name != "{a}:b" { // a sound key, of a site to which the user has no right
			add("name", c.key.legal(name), name)
		}
	}
	add("no key", false)
	add("three keys", false, sound.key, sound.key, sound.key)
	add("two keys of one site", true, sound.key, "other")
	for _, second := range []string{"{north}:" + sound.key, "", "{north", "a\nb"} {
		add("two keys of different sites", false, sound.key, second)
		add("two keys of different sites", false, "{south}:"+sound.key, second)
	}
	add("two keys of different sites", false, "{north}:"+sound.key, sound.key)
	for _, namespace := range []string{
		"{north}", "{north:", "north}:", "{}:", "{-a}:", "{_a}:", "{a b}:", "{a:b}:", "{{a}}:", "{a}:{b}:", "{a\n}:", "{a\x00}:", " {a}:", "{a} :", "{é}:",
		"}{:", "{*}:", "{" + strings.Repeat("a", 65) + "}:",
	} {
		add("a badly formed site", false, namespace+sound.key)
	}
	add("no name", false, "{north}:")
	return all
}

// attempt makes every attempt and returns what is wrong: what is not sound must
// be refused as INVALID, and whatever is refused must leave everything as it was.
func (o *office) attempt(t testing.TB, c *contract, function *lua.Function) (faults []string) {
	t.Helper()
	o.permit(t, function.Touches)
	o.prepare(t, c.examples[0].before)
	before := o.contents(t)
	again := o.layOut
	if slices.ContainsFunc(function.Touches, func(a lua.Access) bool { return strings.HasSuffix(a.Pattern, ":version") }) {
		again = o.prepare // versions tell the library what it may remember, and begin anew
	}
	for _, a := range c.attempts() {
		fault := func(format string, args ...any) { faults = append(faults, a.what+": "+fmt.Sprintf(format, args...)) }
		got := o.call(t, "FCALL", c.function, a.keys, a.args)
		code, words, _ := strings.Cut(got.refusal, " ")
		refused := got.refusal != ""
		switch {
		case len(got.denied) > 0:
			fault("the header does not name: %s", strings.Join(got.denied, ", "))
		case !refused && !a.legal:
			fault("was not refused, but replied with %.200q", fmt.Sprint(got.reply))
		case refused && a.legal == (code == "INVALID"):
			fault("was refused with %.500q", got.refusal)
		case refused && !function.Refuses(code):
			fault("the header does not list %.500q", got.refusal)
		case refused && (words == "" || len(words) > 400 || strings.ContainsFunc(words, func(r rune) bool { return r < ' ' || r == 0x7f })):
			fault("was refused with an unfit text: %.500q", words)
		}
		changed := !maps.Equal(before, got.keys)
		if refused && (changed || len(got.told) > 0) {
			fault("was refused with %.500q, and did something: %q %q", got.refusal, got.keys, got.told)
		}
		if changed {
			again(t, c.examples[0].before)
		}
	}
	return faults
}

// TestTheContractBites: an office that finds no fault with anything would prove
// nothing. Each function here does one thing that it must not do.
func TestTheContractBites(t *testing.T) {
	t.Parallel()
	const library = `#!lua name=wrong
local function add(name, callback) redis.register_function(name, callback) end
add('honest', function() redis.call('HSET', 'modsrv:model:1', 'a', redis.call('GET', 'modsrv:models')) return 'OK' end)
add('reads_another', function() return redis.call('HGET', 'modsrv:secret', 'a') end)
add('writes_what_it_reads', function() return redis.call('SET', 'modsrv:models', 'x') end)
add('hides_it', function() redis.pcall('SET', 'modsrv:secret', 'x') return 'OK' end)
add('calls_it_a_refusal', function()
  if redis.pcall('GET', 'modsrv:secret').err then return redis.error_reply('NOT_FOUND no such thing') end
end)
add('touches_its_key', function(keys) redis.call('SET', keys[1], 'x') return 'OK' end)
add('asks_the_clock', function() redis.call('TIME') return 'OK' end)
add('lists_keys', function() redis.call('KEYS', '*') return 'OK' end)
add('refuses_too_late', function() redis.call('HSET', 'modsrv:model:1', 'a', 'y') return redis.error_reply('CONFLICT too late') end)
add('replies_a_number', function() return 1 end)
add('tells', function() redis.call('PUBLISH', 'modsrv:told', '1') return 'OK' end)
add('sloppy', function(keys, args)
  if args[1] == '01' then redis.call('SET', 'modsrv:model:1', 'x') end
  local code = ({['01'] = 'INVALID', [''] = 'CONFLICT', ['4294967295'] = 'INVALID', ['9999999999'] = 'NOT_FOUND'})[args[1]]
  if code then return redis.error_reply(code .. ' argument ' .. args[1]) end
  return 'OK'
end)
`
	o := newOffice(t)
	if err := o.raw.FunctionLoad(o.ctx, library).Err(); err != nil {
		t.Fatal(err)
	}
	o.permit(t, []lua.Access{{Pattern: "modsrv:model:{id}", Write: true}, {Pattern: "modsrv:models"}})
	before := []step{{"SET", "modsrv:models", "x"}}
	after := map[string]string{"modsrv:model:1": "a=x"}
	for _, test := range []struct{ function, want string }{
		{"honest", ""},
		{"reads_another", "the header does not name: key modsrv:secret"},
		{"writes_what_it_reads", "the header does not name: key modsrv:models"},
		{"hides_it", "the header does not name: key modsrv:secret"},
		{"calls_it_a_refusal", "the header does not name: key modsrv:secret"},
		{"touches_its_key", "the header does not name: key 1"},
		{"asks_the_clock", "the header does not name: command time"},
		{"lists_keys", "the header does not name: command keys"},
		{"refuses_too_late", `refused with "CONFLICT too late", want ""`},
		{"replies_a_number", "reply (-want +got)"},
		{"tells", "messages (-want +got)"},
	} {
		faults := o.try(t, &example{key: "1", before: before, reply: "OK", after: after}, variant{command: "FCALL", name: test.function})
		found := strings.Join(faults, "\n")
		if test.want == "" && found != "" || !strings.Contains(found, test.want) {
			t.Errorf("%s: found %q, want %q", test.function, found, test.want)
		}
	}
	faults := o.try(t, &example{key: "1", before: before, refused: "CONFLICT too late"}, variant{command: "FCALL", name: "refuses_too_late"})
	if found := strings.Join(faults, "\n"); !strings.HasPrefix(found, "keys (-want +got)") {
		t.Errorf("a refusal that has written: found %q", found)
	}
	c := contract{function: "sloppy", key: anyName(), args: []kind{numberID()}, examples: []example{{key: "1", args: []string{"1"}}}}
	faults = o.attempt(t, &c, &lua.Function{
		Touches: []lua.Access{{Pattern: "modsrv:model:{id}", Write: true}}, Errors: []lua.Refusal{{Code: "INVALID"}, {Code: "CONFLICT"}},
	})
	for _, want := range []string{
		`as "x" of 1 bytes: was not refused`, `as "01" of 2 bytes: was refused with "INVALID argument 01", and did something`,
		`as "" of 0 bytes: was refused with "CONFLICT argument "`, `as "4294967295" of 10 bytes: was refused with "INVALID argument 4294967295"`,
		`as "9999999999" of 10 bytes: was refused with "NOT_FOUND argument`, "without argument 1: was not refused", `with ["x"] after the last argument: was not refused`,
		"no key []: was not refused", `a badly formed site ["{a:b}:1"]: was not refused`,
	} {
		if !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("nothing was found like %s in\n%s", want, strings.Join(faults, "\n"))
		}
	}
	needless := &lua.Function{Name: "honest", Touches: []lua.Access{{Pattern: "modsrv:model:{id}", Write: true}, {Pattern: "modsrv:models"}, {Pattern: "modsrv:secret"}}}
	faults = o.needEveryKey(t, needless, []example{{key: "1", before: before}})
	if len(faults) != 1 || faults[0] != "the header asks for modsrv:secret r, which no example needs" {
		t.Errorf("a header that asks for too much: found %q", faults)
	}
	// A function of the library itself under a header that forgets a key.
	mark := functionOf(t, o, "comsrv_mark")
	o.permit(t, slices.DeleteFunc(slices.Clone(mark.Touches), func(a lua.Access) bool { return a.Pattern == "comsrv:{channel}:{type}:q" }))
	faults = o.try(t, &example{
		before: []step{{"HSET", "comsrv:1001:T", "1", "2"}}, key: "1001", args: []string{"bad", "6"}, reply: "1",
	}, variant{command: "FCALL", name: "comsrv_mark"})
	if found := strings.Join(faults, "\n"); !strings.HasPrefix(found, "the header does not name: key comsrv:1001:T:q\n") {
		t.Errorf("a header that forgets a key: found %q", found)
	}
}
