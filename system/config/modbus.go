package config

// Modbus is what the key modbus of a channel says.
type Modbus struct {
	Reads Reads
}

// modbusEntry is the key modbus of a channel in channels.yaml.
type modbusEntry struct {
	readsEntry `yaml:",inline"`
}

func (s *siteReader) modbus(doc *document, at []any, said *modbusEntry) Modbus {
	if said == nil {
		return Modbus{Reads: Reads{}.OrDefault()}
	}
	return Modbus{Reads: said.read(doc, append(at, "modbus"))}
}
