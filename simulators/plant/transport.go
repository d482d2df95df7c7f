package plant

import (
	"path/filepath"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// TransportKind is how a device is spoken with.
type TransportKind string

// The kinds.
const (
	TCP        TransportKind = "tcp"
	TLS        TransportKind = "tls" // Modbus TCP Security
	RTU        TransportKind = "rtu" // on a serial line, which listen names as a path
	RTUOverTCP TransportKind = "rtu_over_tcp"
)

// Transport is how a device is spoken with, and for TLS the files that it needs: in PEM,
// below the plant's folder.
type Transport struct {
	Kind             TransportKind
	Certificate, Key string
	Authorities      string // that sign what clients show; "" for any client
}

func readTransport(m *document.Mapping) Transport {
	t := Transport{Kind: TransportKind(m.Choice("transport", []string{string(TCP), string(TLS), string(RTU), string(RTUOverTCP)}, string(TCP)))}
	if t.Kind != TLS {
		return t
	}
	t.Certificate, t.Key, t.Authorities = m.Text("certificate"), m.Text("key"), m.Text("authorities", "")
	for key, file := range map[string]string{"certificate": t.Certificate, "key": t.Key, "authorities": t.Authorities} {
		if file != "" && !filepath.IsLocal(file) {
			m.Fault(key, "%q leads out of the plant's folder", file)
		}
	}
	return t
}
