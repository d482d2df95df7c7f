package ems

// Template says which data and actions every model of a kind has.
type Template struct {
	ID          string          `yaml:"id" json:"id"`
	Name        string          `yaml:"name" json:"name"`
	Description string          `yaml:"description,omitempty" json:"description,omitempty"`
	Data        []TemplateField `yaml:"data" json:"data"`
	Action      []TemplateField `yaml:"action,omitempty" json:"action,omitempty"`
}

// TemplateField is one named value or action of a template.
type TemplateField struct {
	Name        string   `yaml:"name" json:"name"`
	Unit        string   `yaml:"unit,omitempty" json:"unit,omitempty"`
	Description string   `yaml:"description,omitempty" json:"description,omitempty"`
	Min         *float64 `yaml:"min,omitempty" json:"min,omitempty"`
	Max         *float64 `yaml:"max,omitempty" json:"max,omitempty"`
}

// Model is one piece of equipment: names given to the points of a channel.
type Model struct {
	ID       string         `yaml:"id" json:"id"`
	Name     string         `yaml:"name,omitempty" json:"name,omitempty"`
	Template string         `yaml:"template,omitempty" json:"template,omitempty"`
	Mapping  ModelMapping   `yaml:"mapping" json:"mapping"`
	Metadata map[string]any `yaml:"metadata,omitempty" json:"metadata,omitempty"`
}

// ModelMapping binds names to points of one channel.
type ModelMapping struct {
	Channel ChannelID             `yaml:"channel" json:"channel"`
	Data    map[string]ModelPoint `yaml:"data" json:"data"`
	Action  map[string]ModelPoint `yaml:"action,omitempty" json:"action,omitempty"`
}

// ModelPoint is a point within the channel of a model. Its text form is "S:3";
// a bare number means telemetry for data and control for an action, as in the
// sites of the existing system.
type ModelPoint string

// Resolve returns the point that p names, with fallback as the type of a bare
// number.
func (p ModelPoint) Resolve(channel ChannelID, fallback PointType) (PointRef, error) {
	text := string(p)
	kind := fallback
	if len(text) > 2 && text[1] == ':' {
		parsed, err := ParsePointType(text[:1])
		if err != nil {
			return PointRef{}, err
		}
		kind, text = parsed, text[2:]
	}
	point, err := ParsePointID(text)
	if err != nil {
		return PointRef{}, Errorf(CodeInvalid, "point %q: write a number of 1 or more, or type and number such as S:3", string(p))
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
	Name    string
	Point   PointRef
	Value   Value
	Missing bool // the point has never been read
}
