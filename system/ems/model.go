package ems

import "strings"

// Template says which data, actions and computed values every model of a kind
// has. It may extend another template: it then has all of the other's fields
// too, and a field of the same name changes what it names and keeps the rest.
type Template struct {
	ID          string          `yaml:"id" json:"id"`
	Name        string          `yaml:"name" json:"name"`
	Description string          `yaml:"description,omitempty" json:"description,omitempty"`
	Extends     string          `yaml:"extends,omitempty" json:"extends,omitempty"`
	Data        []TemplateField `yaml:"data,omitempty" json:"data,omitempty"`
	Action      []TemplateField `yaml:"action,omitempty" json:"action,omitempty"`
	Computed    []ComputedField `yaml:"computed,omitempty" json:"computed,omitempty"`
	Metadata    map[string]any  `yaml:"metadata,omitempty" json:"metadata,omitempty"`
}

// TemplateField is one named value or action of a template.
type TemplateField struct {
	Name        string    `yaml:"name" json:"name"`
	Unit        string    `yaml:"unit,omitempty" json:"unit,omitempty"`
	Description string    `yaml:"description,omitempty" json:"description,omitempty"`
	Type        PointType `yaml:"type,omitempty" json:"type,omitempty"`   // of a point without letter; T for data and C for actions if absent
	Point       PointID   `yaml:"point,omitempty" json:"point,omitempty"` // before the model's offset; one more than the field of this type before it if absent
	Min         *float64  `yaml:"min,omitempty" json:"min,omitempty"`
	Max         *float64  `yaml:"max,omitempty" json:"max,omitempty"`
	ValueType   ValueType `yaml:"value_type,omitempty" json:"value_type,omitempty"`
}

// ValueType says which numbers a field takes.
type ValueType string

// The value types. An absent one is AnyNumber.
const (
	AnyNumber   ValueType = "number"
	WholeNumber ValueType = "integer"
	ZeroOrOne   ValueType = "bool"
)

// ComputedField is a value that follows from others of the same model: either a
// function of some names, or an expression.
type ComputedField struct {
	Name        string   `yaml:"name" json:"name"`
	Unit        string   `yaml:"unit,omitempty" json:"unit,omitempty"`
	Description string   `yaml:"description,omitempty" json:"description,omitempty"`
	Function    string   `yaml:"function,omitempty" json:"function,omitempty"`     // sum, difference, mean, min, max or scale
	Of          []string `yaml:"of,omitempty" json:"of,omitempty"`                 // names of data or other computed values
	Factor      *float64 `yaml:"factor,omitempty" json:"factor,omitempty"`         // of scale; 1 if absent
	Offset      *float64 `yaml:"offset,omitempty" json:"offset,omitempty"`         // of scale, added after the factor; 0 if absent
	Expression  string   `yaml:"expression,omitempty" json:"expression,omitempty"` // for example "voltage * current / 1000"
}

// Model is one piece of equipment: names given to points.
type Model struct {
	ID       string          `yaml:"id" json:"id"`
	Name     string          `yaml:"name,omitempty" json:"name,omitempty"`
	Template string          `yaml:"template,omitempty" json:"template,omitempty"`
	Mapping  ModelMapping    `yaml:"mapping" json:"mapping"`
	Computed []ComputedField `yaml:"computed,omitempty" json:"computed,omitempty"`
	Metadata map[string]any  `yaml:"metadata,omitempty" json:"metadata,omitempty"` // above that of the template, name by name
}

// ModelMapping binds names to points, of one channel unless they say otherwise.
// With an Offset every field of the template that is not named here has the
// point of its place plus the offset.
type ModelMapping struct {
	Channel ChannelID             `yaml:"channel" json:"channel"`
	Offset  *int                  `yaml:"offset,omitempty" json:"offset,omitempty"`
	Data    map[string]ModelPoint `yaml:"data,omitempty" json:"data,omitempty"`
	Action  map[string]ModelPoint `yaml:"action,omitempty" json:"action,omitempty"`
}

// ModelPoint is a point of a model. "S:3" is one of the model's own channel,
// "comsrv:1002:S:3" one of any channel. A bare number has the type of the
// template's field: telemetry for data and control for an action unless that
// says otherwise, as in the sites of the existing system.
type ModelPoint string

// Resolve returns the point that p names, with fallback as the type of a bare
// number.
func (p ModelPoint) Resolve(channel ChannelID, fallback PointType) (PointRef, error) {
	text := string(p)
	kind := fallback
	if strings.HasPrefix(text, "comsrv:") {
		return ParsePointRef(text)
	}
	if len(text) > 2 && text[1] == ':' {
		parsed, err := ParsePointType(text[:1])
		if err != nil {
			return PointRef{}, err
		}
		kind, text = parsed, text[2:]
	}
	point, err := ParsePointID(text)
	if err != nil {
		return PointRef{}, Errorf(CodeInvalid, "point %q: write a number of 1 or more, type and number such as S:3, or a whole source such as comsrv:1002:S:3", string(p))
	}
	return PointRef{Channel: channel, Type: kind, Point: point}, nil
}

// UnmarshalJSON accepts a number as well as a text.
func (p *ModelPoint) UnmarshalJSON(data []byte) error {
	if len(data) >= 2 && data[0] == '"' && data[len(data)-1] == '"' {
		*p = ModelPoint(data[1 : len(data)-1])
		return nil
	}
	*p = ModelPoint(data)
	return nil
}

// ModelValue is one named value of a model as it stands now.
type ModelValue struct {
	Name     string
	Point    PointRef // zero where the value is computed
	Computed bool
	Value    Value
	Missing  bool // never read, or computed from what was never read
}
