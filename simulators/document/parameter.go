package document

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parameter is a key as what reads it asks for it.
type Parameter struct {
	Key      string
	About    string // a sentence, or a part of one
	Allowed  string // its range, or what there is to choose from
	Default  string
	Required bool   // there is no default
	When     string // of one that is read with another alone, or otherwise then: "current: dc"
}

// follows is what stands for a range or a default that other parameters decide.
const follows = "as others say"

// Describe returns the parameters that read asks for, in that order: those that it asks
// for where nothing is given, then what it asks for where another choice is made.
func Describe(read func(*Mapping)) []Parameter {
	ask := func(required float64, choice map[string]string) []Parameter {
		d := &description{required: required, choice: choice}
		read(&Mapping{asked: map[string]bool{}, absent: true, faults: &Faults{}, described: d})
		return d.list
	}
	list := ask(100, nil)
	for i, other := range ask(200, nil) { // what others decide is another then
		one := &list[i]
		if one.Allowed != other.Allowed {
			one.Allowed = follows
		}
		if one.Default != other.Default {
			one.Default = follows
		}
	}
	for _, one := range slices.Clone(list) {
		for _, option := range one.options() {
			for _, other := range ask(100, map[string]string{one.Key: option}) {
				there := slices.ContainsFunc(list, func(p Parameter) bool {
					return p.Key == other.Key && (p.Key == one.Key || same(p.Allowed, other.Allowed) && same(p.Default, other.Default))
				})
				if !there {
					other.When = one.Key + ": " + option
					list = append(list, other)
				}
			}
		}
	}
	return list
}

func same(one, other string) bool { return one == follows || one == other }

// between separates what there is to choose from.
const between = " or "

// options returns what may be chosen instead of the default.
func (p Parameter) options() []string {
	if !strings.Contains(p.Allowed, between) || p.Allowed == truths {
		return nil
	}
	return slices.DeleteFunc(strings.Split(p.Allowed, between), func(option string) bool { return option == p.Default })
}

// truths is what a parameter may be that is true or false.
const truths = "true" + between + "false"

// description notes what is asked for, and answers as an empty mapping would.
type description struct {
	required float64           // the answer where a number must be given
	choice   map[string]string // answers to choices
	about    string            // the next
	list     []Parameter
}

// About says what the parameter that is read next is, for who describes them.
func (m *Mapping) About(sentence string) *Mapping {
	if m.described != nil {
		m.described.about = sentence
	}
	return m
}

// note adds a parameter; there is a default unless it is "".
func (d *description) note(key, allowed, fallback string, required bool) {
	d.list = append(d.list, Parameter{Key: key, About: d.about, Allowed: allowed, Default: fallback, Required: required})
	d.about = ""
}

func (d *description) text(key string, fallback []string) string {
	d.note(key, "a text", last(fallback), len(fallback) == 0)
	return last(fallback)
}

func (d *description) option(key string, allowed, fallback []string) string {
	d.note(key, strings.Join(allowed, between), last(fallback), len(fallback) == 0)
	if chosen, is := d.choice[key]; is {
		return chosen
	}
	return last(fallback)
}

func (d *description) truth(key string, fallback []bool) bool {
	d.note(key, truths, fmt.Sprint(last(fallback)), len(fallback) == 0)
	return last(fallback)
}

func (d *description) number(key string, least, greatest float64, fallback []float64) float64 {
	allowed := plain(least) + " to " + plain(greatest)
	if len(fallback) == 0 {
		d.note(key, allowed, "", true)
		return max(least, min(greatest, d.required))
	}
	d.note(key, allowed, plain(last(fallback)), false)
	return last(fallback)
}

func (d *description) numbers(key string, count int, least, greatest float64, fallback [][]float64) []float64 {
	numbers := last(fallback)
	text := fmt.Sprintf("%d values", len(numbers))
	if len(numbers) > 0 && !slices.ContainsFunc(numbers, func(number float64) bool { return number != numbers[0] }) {
		text = plain(numbers[0])
	}
	d.note(key, fmt.Sprintf("%d of %s to %s", count, plain(least), plain(greatest)), text, len(fallback) == 0)
	return numbers
}

// plain writes a number without an exponent, with up to six digits of what is computed.
func plain(number float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(number, 'g', 6, 64), 64)
	if err != nil {
		rounded = number
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
