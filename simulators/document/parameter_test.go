package document_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// What reads a mapping is what describes it: what it asks for, with ranges and defaults,
// those that other parameters decide, and what it asks for after another choice alone.
func TestParametersAreWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	got := document.Describe(func(m *document.Mapping) {
		rated := m.About("its power").Number("rated_kw", 1, 1e6)
		m.Number("most_kw", rated, 2*rated, 1.5*rated)
		if m.About("which way").Choice("current", []string{"ac", "dc"}, "ac") == "dc" {
			m.Number("limit_a", 0.5, 10, 1.0/3)
		}
		limit := int64(2)
		if m.Choice("size", []string{"small", "large"}, "small") == "large" {
			limit = 20
		}
		m.Integer("count", 1, 1000, limit)
		m.Truth("closed", true)
		m.Text("name")
		m.Text("refers", "")
		m.Numbers("flat", 3, -1, 1, []float64{0.5, 0.5, 0.5})
		m.Numbers("curve", 3, 0, 1, []float64{0, 0.5, 1})
		if m.Fault("name", "nobody is told of this"); m.Has("other") {
			t.Error("it has what nobody gave")
		}
	})
	want := []document.Parameter{
		{Key: "rated_kw", About: "its power", Allowed: "1 to 1000000", Required: true},
		{Key: "most_kw", Allowed: "as others say", Default: "as others say"},
		{Key: "current", About: "which way", Allowed: "ac or dc", Default: "ac"},
		{Key: "size", Allowed: "small or large", Default: "small"},
		{Key: "count", Allowed: "1 to 1000", Default: "2"},
		{Key: "closed", Allowed: "true or false", Default: "true"},
		{Key: "name", Allowed: "a text", Required: true},
		{Key: "refers", Allowed: "a text"},
		{Key: "flat", Allowed: "3 of -1 to 1", Default: "0.5"},
		{Key: "curve", Allowed: "3 of 0 to 1", Default: "3 values"},
		{Key: "limit_a", Allowed: "0.5 to 10", Default: "0.333333", When: "current: dc"},
		{Key: "count", Allowed: "1 to 1000", Default: "20", When: "size: large"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
