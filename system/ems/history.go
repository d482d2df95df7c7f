package ems

// HistoryMapping sends the points of one hash to history.
type HistoryMapping struct {
	ID          string            `yaml:"id" json:"id"`
	Source      string            `yaml:"source" json:"source"` // "comsrv:1001:T"
	Measurement string            `yaml:"measurement" json:"measurement"`
	Tags        map[string]string `yaml:"tags,omitempty" json:"tags,omitempty"`
	// Fields names points in history; a point without a name is "p" and its id.
	Fields map[PointID]string `yaml:"fields,omitempty" json:"fields,omitempty"`
}
