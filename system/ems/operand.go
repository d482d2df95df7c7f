package ems

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Operand is the right side of a comparison: one number, or a list of them. What
// is neither is kept as it was written, so that whoever checks the rule can say
// where it stands.
type Operand struct {
	Number float64
	List   []float64 // not nil: this is a list, and Number means nothing
	Wrong  string    // what was written where it is neither
}

// Number is an operand of one number.
func Number(number float64) *Operand { return &Operand{Number: number} }

// Numbers is an operand of a list.
func Numbers(numbers ...float64) *Operand { return &Operand{List: append([]float64{}, numbers...)} }

func (o Operand) String() string {
	if o.Wrong != "" {
		return o.Wrong
	}
	if o.List == nil {
		return fmt.Sprint(o.Number)
	}
	return strings.ReplaceAll(fmt.Sprint(o.List), " ", ", ")
}

// decode reads an operand; written is its text, where that is known.
func (o *Operand) decode(into func(any) error, written string) error {
	*o = Operand{}
	var number *float64
	if into(&number) == nil && number != nil {
		o.Number = *number
		return nil
	}
	var list []*float64
	if into(&list) == nil && list != nil {
		o.List = make([]float64, len(list))
		for i, number := range list {
			if number == nil {
				o.List, o.Wrong = nil, "a list with nothing in it"
				return nil
			}
			o.List[i] = *number
		}
		return nil
	}
	var other any
	if err := into(&other); err != nil && written != "" { // a number that is too large
		o.Wrong = clip(written)
		return nil
	} else if err != nil {
		return err
	}
	o.Wrong = fmt.Sprintf("%v", other)
	if text, isText := other.(string); isText || o.Wrong == "" {
		o.Wrong = fmt.Sprintf("%q", clip(text))
	}
	return nil
}

func (o Operand) plain() any {
	switch {
	case o.Wrong != "":
		return o.Wrong
	case o.List != nil:
		return o.List
	default:
		return o.Number
	}
}

// UnmarshalJSON reads a number or a list of numbers.
func (o *Operand) UnmarshalJSON(data []byte) error {
	return o.decode(func(into any) error { return json.Unmarshal(data, into) }, string(data))
}

// MarshalJSON writes the number or the list.
func (o Operand) MarshalJSON() ([]byte, error) { return json.Marshal(o.plain()) }

// UnmarshalYAML reads a number or a list of numbers.
func (o *Operand) UnmarshalYAML(unmarshal func(any) error) error { return o.decode(unmarshal, "") }

// MarshalYAML writes the number or the list.
func (o Operand) MarshalYAML() (any, error) { return o.plain(), nil }
