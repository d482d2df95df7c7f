package modbusserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"
)

// handshakeWithin bounds how long a client may take to agree on TLS.
const handshakeWithin = 10 * time.Second

// Secure returns a listener whose connections speak TLS 1.2 or later: MODBUS/TCP
// Security Protocol Specification V21. Clients must show a certificate that one of
// the given authorities has signed, unless there are none.
func Secure(listener net.Listener, certificate tls.Certificate, authorities *x509.CertPool) net.Listener {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if authorities != nil {
		config.ClientCAs, config.ClientAuth = authorities, tls.RequireAndVerifyClientCert
	}
	return tls.NewListener(listener, config)
}

// handshake agrees on TLS, where a connection is of that.
func (s *Server) handshake(connection net.Conn) error {
	secured, ok := connection.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeWithin)
	defer cancel()
	return secured.HandshakeContext(ctx)
}
