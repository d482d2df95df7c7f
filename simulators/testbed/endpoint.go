package testbed

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// endpoint is one address that the testbed listens at: that of one or more
// devices, or of the control API, which has none.
type endpoint struct {
	address  string
	devices  []plant.DeviceDefinition
	listener net.Listener
}

// transport returns how the devices of the endpoint are spoken with.
func (e *endpoint) transport() plant.Transport {
	if e.devices == nil {
		return plant.Transport{Kind: plant.TCP}
	}
	return e.devices[0].Transport
}

// serve answers Modbus at the endpoint, in its framing.
func (e *endpoint) serve(units map[byte]*modbusserver.Unit, options Options, metrics prometheus.Registerer) (*modbusserver.Server, error) {
	framing := modbusserver.TCP
	if kind := e.transport().Kind; kind == plant.RTU || kind == plant.RTUOverTCP {
		framing = modbusserver.RTU
	}
	return modbusserver.Serve(e.listener, units, modbusserver.Options{
		Name: e.name(), Framing: framing, Clock: options.Clock, Logger: options.Logger, Metrics: metrics,
	})
}

// open opens the address: a port, with TLS where it is asked for, or a serial line.
func (e *endpoint) open(folder string) (net.Listener, error) {
	transport := e.transport()
	if transport.Kind == plant.RTU {
		return modbusserver.OpenLine(e.address)
	}
	listener, err := net.Listen("tcp", e.address)
	if err != nil || transport.Kind != plant.TLS {
		return listener, err
	}
	secured, err := secure(listener, folder, transport)
	if err != nil {
		_ = listener.Close() // nobody has connected
	}
	return secured, err
}

// secure makes a listener one of TLS, with the certificates that the plant names.
func secure(listener net.Listener, folder string, transport plant.Transport) (net.Listener, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, transport.Certificate), filepath.Join(folder, transport.Key))
	if err != nil {
		return nil, fmt.Errorf("its certificate cannot be read: %w", err)
	}
	if transport.Authorities == "" {
		return modbusserver.Secure(listener, certificate, nil), nil
	}
	text, err := os.ReadFile(filepath.Join(folder, transport.Authorities))
	if err != nil {
		return nil, fmt.Errorf("its authorities cannot be read: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate of an authority", transport.Authorities)
	}
	return modbusserver.Secure(listener, certificate, authorities), nil
}

func (e *endpoint) name() string {
	if e.devices == nil {
		return "the control API"
	}
	ids := make([]string, len(e.devices))
	for i, one := range e.devices {
		ids[i] = one.ID
	}
	return strings.Join(ids, ",")
}

// endpointsOf returns the addresses of a plant. Devices with the same address
// share one, unless it asks for any free port.
func endpointsOf(definition *plant.Definition) []*endpoint {
	endpoints := []*endpoint{{address: definition.Control}}
	shared := map[string]*endpoint{}
	for _, one := range definition.Devices {
		e := shared[one.Listen]
		_, port, _ := net.SplitHostPort(one.Listen)
		if e == nil || port == "0" || one.Listen == "" { // of a serial line without a path
			e = &endpoint{address: one.Listen}
			shared[one.Listen] = e
			endpoints = append(endpoints, e)
		}
		e.devices = append(e.devices, one)
	}
	return endpoints
}

// listen opens every address, or none and says which cannot be had.
func listen(endpoints []*endpoint, folder string) error {
	var failed []string
	for _, e := range endpoints {
		listener, err := e.open(folder)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			failed = append(failed, e.address+" ("+e.name()+") is in use")
		case err != nil:
			failed = append(failed, e.address+" ("+e.name()+"): "+err.Error())
		default:
			e.listener = listener
		}
	}
	if failed == nil {
		return nil
	}
	for _, e := range endpoints {
		if e.listener != nil {
			_ = e.listener.Close() // nobody has connected
		}
	}
	sort.Strings(failed)
	return ems.Errorf(ems.CodeConflict, "the plant cannot listen: %s: stop what listens there or give other addresses", strings.Join(failed, ", "))
}
