package rulesrv

import (
	"context"
	"math"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
)

// pastOf returns what a source was. A name of a model is taken as the mapping is
// now. Custom values have no history.
func (s *Service) pastOf(ctx context.Context, source ems.Source, read func(ems.PointRef) ([]past, error)) ([]past, error) {
	switch source.Kind {
	case ems.PointSource:
		return read(source.Point)
	case ems.CustomSource:
		return nil, nil
	}
	expansion, err := s.db.ExpandModel(ctx, source.Model)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(expansion.Data, func(field ems.ExpandedField) bool { return field.Name == source.Name })
	if at >= 0 {
		return read(expansion.Data[at].Point)
	}
	return computedPast(expansion, source.Name, read)
}

// computedPast works a computed value out anew at every change of one of its
// inputs. It is not finite where an input is not known yet.
func computedPast(expansion ems.Expansion, name string, read func(ems.PointRef) ([]past, error)) ([]past, error) {
	formulas := map[string]ems.Formula{}
	for _, field := range expansion.Computed {
		formula, err := field.Formula()
		if err != nil {
			return nil, err
		}
		formulas[field.Name] = formula
	}
	inputs := map[string][]past{} // by the name of a data value
	var times []int64
	var gather func(name string) error
	gather = func(name string) error {
		for _, input := range formulas[name].Names() {
			if _, known := inputs[input]; known {
				continue
			}
			at := slices.IndexFunc(expansion.Data, func(field ems.ExpandedField) bool { return field.Name == input })
			if at < 0 {
				if err := gather(input); err != nil {
					return err
				}
				continue
			}
			found, err := read(expansion.Data[at].Point)
			if err != nil {
				return err
			}
			inputs[input] = found
			for _, one := range found {
				times = append(times, one.Time)
			}
		}
		return nil
	}
	if _, known := formulas[name]; !known {
		return nil, ems.Errorf(ems.CodeNotFound, "model %q has no data and no computed value %q", expansion.ID, name)
	}
	if err := gather(name); err != nil {
		return nil, err
	}
	slices.Sort(times)
	var results []past
	at := map[string]int{} // how many numbers of an input lie behind
	for _, time := range slices.Compact(times) {
		var value func(name string) float64
		value = func(name string) float64 {
			if formula, computed := formulas[name]; computed && inputs[name] == nil {
				return formula.Eval(value)
			}
			if at[name] == 0 {
				return math.NaN()
			}
			return inputs[name][at[name]-1].Value
		}
		for input, numbers := range inputs {
			for at[input] < len(numbers) && numbers[at[input]].Time <= time {
				at[input]++
			}
		}
		results = append(results, past{time, formulas[name].Eval(value)})
	}
	return results, nil
}

// finite returns nil for what may not be acted on.
func finite(number float64) *float64 {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return nil
	}
	return &number
}
