// Command service says whether there is an animal on a picture. It is a web
// service with a route of its own and a model in its process:
//
//	eval "$(../../bin/residual doctor --env)"
//	go run . -model ../../build/test-models/small
//	curl --data-binary @cat.jpg localhost:8080/upload
//	{"animal":true,"class":"cat","probability":0.93}
//
// At /v1/, /v2/ and over gRPC the same model answers clients of TensorFlow
// Serving, KServe and Triton.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
)

// How the service ends: Kubernetes kills it 30 seconds after SIGTERM.
const (
	drainDelay   = 2 * time.Second  // until balancers have seen that it is not ready
	drainTimeout = 20 * time.Second // then, for the requests that have come
)

func main() {
	modelDir := flag.String("model", "", "ask the SavedModel in `DIR`")
	addr := flag.String("addr", "127.0.0.1:8080", "answer HTTP at `HOST:PORT`")
	grpcAddr := flag.String("grpc-addr", "127.0.0.1:8500", "answer gRPC at `HOST:PORT`")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	if err := run(*modelDir, *addr, *grpcAddr); err != nil {
		slog.Error("ended", "error", err)
		os.Exit(1)
	}
}

// run serves a model until a signal comes. What it opens it closes in the
// opposite order: no model is freed that still computes.
func run(modelDir, addr, grpcAddr string) (err error) {
	model, err := savedmodel.Open(modelDir, savedmodel.Options{Signatures: []string{pipeline.PredictSignature}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()

	classes := model.Info().Metadata.Classes
	server, err := serving.New(model, serving.Options{Name: "pictures", Classes: classes, Log: slog.Default()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeInTime(server.Close)) }()

	// A queue of its own: uploads are not refused because others wait at /v1/.
	batcher, err := serving.NewBatcher(model, serving.BatchOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeInTime(batcher.Close)) }()
	if err := batcher.Warm(context.Background()); err != nil {
		return err
	}

	uploads, err := newUploads(batcher, model.Info().Metadata)
	if err != nil {
		return err
	}
	return serve(addr, grpcAddr, routes(uploads, server), server)
}

// closeInTime gives requests that are not answered yet some time.
func closeInTime(closer func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return closer(ctx)
}

// routes are the service's own, and those of the server that it wants to show.
func routes(uploads *uploads, server *serving.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /upload", uploads)
	for _, path := range []string{"/v1/", "/v2", "/v2/", "/readyz", "/metrics"} {
		mux.Handle(path, server)
	}
	return mux
}

// serve answers until a signal comes.
func serve(addr, grpcAddr string, handler http.Handler, server *serving.Server) error {
	web, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	rpc, err := net.Listen("tcp", grpcAddr)
	if err != nil {
		return fmt.Errorf("listen for gRPC: %w", errors.Join(err, web.Close()))
	}
	// ReadTimeout is for uploads: the server has one of its own, Limits.Read.
	httpServer := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	grpcServer := grpc.NewServer(server.GRPCOptions()...)
	server.Register(grpcServer)

	// Not before: a signal ends the process at once while it loads the model.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	failed := make(chan error, 2)
	go func() { failed <- httpServer.Serve(web) }()
	go func() { failed <- grpcServer.Serve(rpc) }()
	slog.Info("listening", "http", web.Addr().String(), "grpc", rpc.Addr().String())
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	stop() // a second signal does not wait
	return errors.Join(err, drain(server, httpServer, grpcServer))
}

// drain answers the requests that have come, and those that come before balancers
// look elsewhere.
func drain(server *serving.Server, httpServer *http.Server, grpcServer *grpc.Server) error {
	slog.Info("draining")
	server.Drain()
	time.Sleep(drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, grpcServer.Stop)() // GracefulStop waits for ever
	err := httpServer.Shutdown(ctx)
	grpcServer.GracefulStop()
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return fmt.Errorf("drain: %w", errors.Join(err, httpServer.Close()))
	}
	return nil
}
