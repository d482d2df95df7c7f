package ems

import "time"

// RegisterWrite is what somebody wrote to registers or coils of a device without a
// point, for the audit. It is noted twice: as executing before anything is sent,
// and as it ended. One that never ended may have reached the device.
type RegisterWrite struct {
	ID       string       `json:"id"`
	State    CommandState `json:"state"` // executing, or as it ended
	Unit     uint8        `json:"unit"`
	Function uint8        `json:"function"`
	Address  uint16       `json:"address"`
	Values   []uint16     `json:"values"` // of coils 0 and 1
	Origin   string       `json:"origin"`
	Reason   string       `json:"reason,omitempty"`
	Time     time.Time    `json:"time"`
}
