package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// rulesName is the file of the rules in a site folder.
const rulesName = "rules.yaml"

// rulesFile is the shape of rules.yaml: a list, or one rule alone.
type rulesFile struct {
	Rules []ems.Rule `yaml:"rules"`
	Rule  *ems.Rule  `yaml:"rule,omitempty"`
}

func (s *siteReader) readRules(site *Site) {
	var file rulesFile
	doc, ok := readDocument(s.path(rulesName), rulesName, &file, &s.faults)
	if ok {
		site.Rules = file.check(doc, newRuleWorld(site, nil))
	}
}

// FindModel returns a model that is in use, whether the site folder has it or not.
type FindModel func(id string) (ems.Expansion, bool)

// ParseRules reads rules in the form of rules.yaml, which may name models that
// find knows. The error lists every fault with its line; name is what it calls
// the text.
func (s *Site) ParseRules(name string, text []byte, find FindModel) ([]ems.Rule, error) {
	var found faults
	var file rulesFile
	doc := &document{file: name, faults: &found}
	if !doc.decode(text, &file) {
		return nil, found.err()
	}
	rules := file.check(doc, newRuleWorld(s, find))
	return rules, found.err()
}

// check gathers the rules of a file and everything wrong with them.
func (f *rulesFile) check(doc *document, world *ruleWorld) []ems.Rule {
	rules, paths := slices.Clone(f.Rules), make([][]any, 0, len(f.Rules)+1)
	for i := range f.Rules {
		paths = append(paths, []any{"rules", i})
	}
	if f.Rule != nil {
		rules, paths = append(rules, *f.Rule), append(paths, []any{"rule"})
	}
	if len(rules) > ems.MaxRules {
		doc.add([]any{"rules"}, "%d rules are more than the %d that fit", len(rules), ems.MaxRules)
		return rules
	}
	seen := map[string]bool{}
	for i := range rules {
		at := func(path []any) []any { return append(slices.Clone(paths[i]), path...) }
		if seen[rules[i].ID] {
			doc.add(at([]any{"id"}), "%q stands twice", rules[i].ID)
		}
		seen[rules[i].ID] = true
		name := ""
		if ems.CheckRuleID(rules[i].ID) == nil {
			name = " (rule " + rules[i].ID + ")"
		}
		unknown, limits := world.faults(&rules[i])
		for _, fault := range slices.Concat(RuleFaults(&rules[i]), limits) {
			doc.add(at(fault.Path), "%s%s", fault.Message, name)
		}
		for _, fault := range unknown {
			doc.addReference(fault.kept, at(fault.Path), "%s%s", fault.Message, name)
		}
	}
	for _, fault := range crowded(rules, nil) {
		doc.add(append(slices.Clone(paths[fault.rule]), fault.Path...), "%s", fault.Message)
	}
	for _, fault := range unresolved(rules, seen) {
		if world.find == nil { // else the rules in use count, too
			doc.add(append(slices.Clone(paths[fault.rule]), fault.Path...), "%s", fault.Message)
		}
	}
	for first, circle := range world.loops(rules) {
		steps := make([]string, len(circle))
		for i, rule := range circle {
			steps[i] = fmt.Sprintf("%s (line %d)", rules[rule].ID, doc.line(paths[rule]))
		}
		doc.add(paths[first], "rules would set off one another without end: %s", strings.Join(steps, " -> "))
	}
	return rules
}

// RuleFaults lists what a rule names and neither this site nor find knows, and
// commands beyond the limits of their points.
func (s *Site) RuleFaults(rule *ems.Rule, find FindModel) []ems.Fault {
	unknown, limits := newRuleWorld(s, find).faults(rule)
	var found []ems.Fault
	for _, fault := range unknown {
		found = append(found, fault.Fault)
	}
	return append(found, limits...)
}

// ruleWorld is what the rules of a site may name.
type ruleWorld struct {
	site   *Site
	models map[string]map[string][]ems.PointRef // the points behind each name of a model; nil where the model has faults of its own
	limits map[ems.PointRef]ems.ExpandedField   // the actions of models with bounds, by what they write
	find   FindModel                            // nil where the site folder alone counts
	found  map[string]bool                      // models that find was asked for
}

func newRuleWorld(site *Site, find FindModel) *ruleWorld {
	world := &ruleWorld{site: site, models: map[string]map[string][]ems.PointRef{}, limits: map[ems.PointRef]ems.ExpandedField{}, find: find, found: map[string]bool{}}
	for _, model := range site.Models {
		expansion, faults := ems.Expand(model, site.Template)
		if len(faults) > 0 {
			world.models[model.ID] = nil
			continue
		}
		world.models[model.ID] = pointsBehind(expansion)
		for _, field := range expansion.Action {
			if field.Min != nil || field.Max != nil {
				field.Name = model.ID + "." + field.Name
				world.limits[field.Point] = field
			}
		}
	}
	return world
}

// checkControl refuses a command that the point, or the action of a model that writes
// the same point, would refuse.
func (w *ruleWorld) checkControl(point *MappedPoint, ref ems.PointRef, number float64) error {
	if point.Mapping.DataType == Bool && number != 0 && number != 1 {
		return ems.Errorf(ems.CodeInvalid, "%s takes 0 or 1, not %v", point.Name, number)
	}
	if field, found := w.limits[ref]; found {
		bounded := ems.Point{Name: field.Name, Unit: field.Unit, Min: field.Min, Max: field.Max}
		if err := bounded.CheckRange(number); err != nil {
			return err
		}
	}
	return point.CheckRange(number)
}

// pointsBehind returns the points behind each name of a model: one behind data,
// those of all inputs behind a computed value.
func pointsBehind(expansion ems.Expansion) map[string][]ems.PointRef {
	names := map[string][]ems.PointRef{}
	for _, field := range expansion.Data {
		names[field.Name] = []ems.PointRef{field.Point}
	}
	for _, field := range expansion.Computed { // each after its inputs
		formula, err := field.Formula()
		if err != nil {
			continue
		}
		names[field.Name] = []ems.PointRef{}
		for _, input := range formula.Names() {
			names[field.Name] = append(names[field.Name], names[input]...)
		}
	}
	return names
}

// model returns the points behind each name of a model, as the site folder and as
// what is in use has it: one may be newer than the other.
func (w *ruleWorld) model(id string) (names map[string][]ems.PointRef, known bool) {
	if w.find != nil && !w.found[id] {
		w.found[id] = true
		if expansion, inUse := w.find(id); inUse {
			names = pointsBehind(expansion)
			for name, points := range w.models[id] {
				names[name] = append(names[name], points...)
			}
			w.models[id] = names
		}
	}
	names, known = w.models[id]
	return names, known
}

// unknownFault is something that a rule names and the table where it is kept lacks.
type unknownFault struct {
	ems.Fault
	kept table
}

// sourceFault says why a source that is well written has no number here.
func (w *ruleWorld) sourceFault(source ems.Source) (message string, kept table) {
	switch source.Kind {
	case ems.PointSource:
		if point, found := w.site.Point(source.Point); !found {
			return fmt.Sprintf("no point %s in this site", source.Point), pointTables
		} else if point.Mapping.IsText() {
			return fmt.Sprintf("%s is a text, which has no number", source.Point), pointTables
		}
	case ems.ModelSource:
		names, known := w.model(source.Model)
		switch {
		case !known:
			return fmt.Sprintf("no model %q in this site", source.Model), modelTable
		case names != nil && names[source.Name] == nil:
			return fmt.Sprintf("model %q has no data and no computed value %q", source.Model, source.Name), modelTable
		}
	}
	return "", ""
}

// faults lists what a rule names that there is not, and commands that would be
// refused.
func (w *ruleWorld) faults(rule *ems.Rule) (unknown []unknownFault, limits []ems.Fault) {
	miss := func(kept table, message string, path ...any) {
		unknown = append(unknown, unknownFault{ems.Fault{Path: path, Message: message}, kept})
	}
	var visit func(at []any, conditions []ems.Condition)
	visit = func(at []any, conditions []ems.Condition) {
		for i, condition := range conditions {
			here := append(slices.Clone(at), "conditions", i)
			visit(here, condition.Conditions)
			for _, side := range [][2]string{{"source", condition.Source}, {"minus", condition.Minus}, {"compare_to", condition.CompareTo}} {
				source, err := ems.ParseSource(side[1])
				if err != nil {
					continue
				}
				if message, kept := w.sourceFault(source); message != "" {
					miss(kept, message, append(slices.Clone(here), side[0])...)
				}
			}
		}
	}
	visit(nil, rule.Conditions)
	for i, action := range rule.Actions {
		param := func(name string) (text string) { text, _ = action.Params[name].(string); return text }
		if message := w.site.Forward.unknownName(param("to")); action.Type == ems.ActionNotify && message != "" {
			miss(notifyTable, message, "actions", i, "params", "to")
		}
		ref, err := ems.ParsePointRef(param("target"))
		if err != nil || action.Type != ems.ActionControl {
			continue
		}
		point, found := w.site.Point(ref)
		if !found {
			miss(pointTables, fmt.Sprintf("no point %s in this site", ref), "actions", i, "params", "target")
			continue
		}
		if number, ok := paramNumber(action.Params["value"]); ok {
			if err := w.checkControl(&point, ref, number); err != nil {
				limits = append(limits, ems.Fault{Path: []any{"actions", i, "params", "value"}, Message: err.Error()})
			}
		}
	}
	return unknown, limits
}

// watches returns what a change of makes a rule be evaluated: sources in their
// text form, with the points behind the names of models.
func (w *ruleWorld) watches(rule *ems.Rule) []string {
	watched := rule.Sources()
	for _, text := range watched {
		source, err := ems.ParseSource(text)
		if err == nil && source.Kind == ems.ModelSource {
			names, _ := w.model(source.Model)
			for _, point := range names[source.Name] {
				watched = append(watched, point.String())
			}
		}
	}
	return watched
}

// loops returns, by the index of a rule, the circle that leads back to it, as
// indexes, the first again at the end; of each circle the rule that comes first
// has it.
func (w *ruleWorld) loops(rules []ems.Rule) map[int][]int {
	watchers := map[string][]int{}
	for i := range rules {
		for _, source := range w.watches(&rules[i]) {
			watchers[source] = append(watchers[source], i)
		}
	}
	search := loopSearch{rules: rules, watchers: watchers, state: make([]int, len(rules)), circles: map[int][]int{}}
	for i := range rules {
		search.visit(i)
	}
	return search.circles
}

type loopSearch struct {
	rules    []ems.Rule
	watchers map[string][]int
	state    []int // 0 not seen, 1 on the path, 2 done
	path     []int
	circles  map[int][]int
}

func (l *loopSearch) visit(at int) {
	l.state[at] = 1
	l.path = append(l.path, at)
	for _, action := range l.rules[at].Actions {
		for _, next := range l.watchers[changedBy(action)] {
			switch l.state[next] {
			case 0:
				l.visit(next)
			case 1:
				l.circles[next] = append(slices.Clone(l.path[slices.Index(l.path, next):]), next)
			}
		}
	}
	l.path = l.path[:len(l.path)-1]
	l.state[at] = 2
}

// changedBy is the source that an action changes, empty for none.
func changedBy(action ems.Action) string {
	switch action.Type {
	case ems.ActionSetValue:
		name, _ := action.Params["name"].(string)
		return "custom:" + name
	case ems.ActionControl:
		target, _ := action.Params["target"].(string)
		return target
	default:
		return ""
	}
}
