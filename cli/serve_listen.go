package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/residual-go/residual/pipeline/serving"
)

// What a connection may cost before a request has been read.
const (
	maxConnections    = 4096
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// doors are what is listened on.
type doors struct {
	http        *http.Server
	grpc        *grpc.Server
	httpURL     string // "" where there is none
	grpcAddress string
	listeners   []*listener
	conns       connections // of http
	failed      chan error
}

// listen opens the doors. Requests are answered from now on, if only with that
// nothing is ready.
func listen(c *cli.Context, s *serveSettings, server *serving.Server) (*doors, error) {
	certificate, err := readCertificate(c)
	if err != nil {
		return nil, err
	}
	d := &doors{failed: make(chan error, 2)}
	if port := c.Int(portName); port != 0 {
		listener, err := d.listenOn(c.String(hostName), port)
		if err != nil {
			return nil, err
		}
		d.serveHTTP(listener, server, certificate, s.log)
	}
	if port := c.Int(grpcPortName); port != 0 {
		listener, err := d.listenOn(c.String(hostName), port)
		if err != nil {
			if d.http != nil {
				err = errors.Join(err, d.http.Close())
			}
			return nil, err
		}
		d.serveGRPC(listener, server, certificate)
	}
	return d, nil
}

func (d *doors) listenOn(host string, port int) (net.Listener, error) {
	listener, err := listenTCP(net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	d.listeners = append(d.listeners, listener)
	return netutil.LimitListener(listener, maxConnections), nil
}

// readCertificate reads --tls-cert and --tls-key; nil without them.
func readCertificate(c *cli.Context) (*tls.Config, error) {
	cert, key := c.String(tlsCertName), c.String(tlsKeyName)
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, usagef(c, "--%s and --%s belong together", tlsCertName, tlsKeyName)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	var last atomic.Pointer[tls.Certificate]
	last.Store(&pair)
	// Read again for each connection: certificates are renewed while a server runs. The
	// last good one serves while one of the two files is new.
	read := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair, err := tls.LoadX509KeyPair(cert, key); err == nil {
			last.Store(&pair)
		}
		return last.Load(), nil
	}
	return &tls.Config{GetCertificate: read, MinVersion: tls.VersionTLS12}, nil
}

func (d *doors) serveHTTP(listener net.Listener, server *serving.Server, certificate *tls.Config, logger *slog.Logger) {
	d.http = &http.Server{
		Handler: server, TLSConfig: certificate.Clone(), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnState: d.conns.set, ErrorLog: log.New(debugWriter{logger}, "", 0),
	}
	scheme := "http://"
	serve := func() error { return d.http.Serve(listener) }
	if certificate != nil {
		scheme = "https://"
		serve = func() error { return d.http.ServeTLS(listener, "", "") }
	}
	d.httpURL = scheme + listener.Addr().String()
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			d.failed <- err
		}
	}()
}

// debugWriter logs what net/http has to say of connections: it is about clients.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug("connection", "said", string(line))
	return len(line), nil
}

func (d *doors) serveGRPC(listener net.Listener, server *serving.Server, certificate *tls.Config) {
	options := append(server.GRPCOptions(), grpc.ConnectionTimeout(readHeaderTimeout), grpc.MaxHeaderListSize(maxHeaderBytes))
	if certificate != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(certificate)))
	}
	d.grpc = grpc.NewServer(options...)
	server.Register(d.grpc)
	d.grpcAddress = listener.Addr().String()
	go func() {
		if err := d.grpc.Serve(listener); err != nil {
			d.failed <- err
		}
	}()
}

// close waits for the requests that have come, and closes what is left of them
// when the context ends.
func (d *doors) close(ctx context.Context) error {
	var err error
	for _, l := range d.listeners {
		err = errors.Join(err, l.refuse(ctx))
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if d.grpc != nil {
			d.grpc.GracefulStop()
		}
	}()
	err = errors.Join(err, d.conns.wait(ctx))
	if d.http != nil {
		if shutdownErr := d.http.Shutdown(ctx); shutdownErr != nil {
			err = errors.Join(err, d.http.Close())
		}
	}
	select {
	case <-stopped:
	case <-ctx.Done():
		if d.grpc != nil {
			d.grpc.Stop()
		}
		<-stopped
		err = cmp.Or(err, context.Cause(ctx))
	}
	return err
}
