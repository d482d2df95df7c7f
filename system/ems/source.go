package ems

import "strings"

// SourceKind says where the number of a source comes from.
type SourceKind int

// The kinds.
const (
	PointSource  SourceKind = iota // comsrv:{channel}:{T|S|C|A}:{point}
	ModelSource                    // modsrv:{model}:{name}: data or a computed value; it follows the mapping of the model
	CustomSource                   // custom:{name}: a number that rules and people set
)

// Source is what a rule watches.
type Source struct {
	Kind  SourceKind
	Point PointRef // of a PointSource
	Model string   // of a ModelSource
	Name  string   // of a ModelSource or a CustomSource
}

func (s Source) String() string {
	switch s.Kind {
	case ModelSource:
		return "modsrv:" + s.Model + ":" + s.Name
	case CustomSource:
		return "custom:" + s.Name
	default:
		return s.Point.String()
	}
}

// ParseSource reads the text form of a source.
func ParseSource(text string) (Source, error) {
	parts := strings.Split(text, ":")
	switch {
	case parts[0] == "modsrv" && len(parts) == 3:
		if err := CheckID("model", parts[1]); err != nil {
			return Source{}, Errorf(CodeInvalid, "source %q: %w", clip(text), err)
		}
		if err := CheckID("name", parts[2]); err != nil {
			return Source{}, Errorf(CodeInvalid, "source %q: %w", clip(text), err)
		}
		return Source{Kind: ModelSource, Model: parts[1], Name: parts[2]}, nil
	case parts[0] == "custom" && len(parts) == 2:
		if err := CheckID("name", parts[1]); err != nil {
			return Source{}, Errorf(CodeInvalid, "source %q: %w", clip(text), err)
		}
		return Source{Kind: CustomSource, Name: parts[1]}, nil
	case parts[0] == "comsrv" && len(parts) == 4:
		point, err := ParsePointRef(text)
		return Source{Point: point}, err
	default:
		return Source{}, Errorf(CodeInvalid, "unknown source %q: write comsrv:{channel}:{T|S|C|A}:{point}, for example comsrv:1001:T:1, modsrv:{model}:{name} or custom:{name}", clip(text))
	}
}
