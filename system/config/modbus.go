package config

import "time"

// Modbus is what the key modbus of a channel says: how its requests travel.
type Modbus struct {
	Retries       int           // of a read that got no answer; a write is never sent again
	Spacing       time.Duration // between the end of one exchange on a connection and the next request
	OwnConnection bool          // do not share the connection with other channels of the same address
	TLS           TLS           // of modbus_tls
}

// modbusEntry is the key modbus of a channel in channels.yaml.
type modbusEntry struct {
	Retries       int           `yaml:"retries"`
	Spacing       time.Duration `yaml:"spacing"`
	OwnConnection bool          `yaml:"own_connection"`
	TLS           *tlsEntry     `yaml:"tls"`
}
