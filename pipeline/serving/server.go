package serving

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Server answers requests over HTTP, as an http.Handler, and over gRPC, see
// Register. Its methods may be called from several goroutines.
type Server struct {
	options  Options
	table    table
	metrics  *metrics
	working  chan struct{} // a place for each request at once
	decoding chan struct{} // a place for each image at once
	draining atomic.Bool
	closed   atomic.Bool
}

// New serves one model, as version 1 of o.Name, once it is warm and has answered
// one request well. The model is not closed with the server.
func New(model pipeline.Model, o Options) (*Server, error) {
	s, err := NewServer(o)
	if err != nil {
		return nil, err
	}
	err = s.Load(context.Background(), Version{Name: s.options.Name, Number: 1, Model: model, Classes: o.Classes})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// NewServer makes a server without models: Load and Follow bring them.
func NewServer(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Server{
		options: o, table: table{models: map[string]*entry{}},
		working: make(chan struct{}, o.Limits.Requests), decoding: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	var err error
	s.metrics, err = newMetrics(s)
	return s, err
}

// Ready tells whether each model can be asked, and Drain was not called.
func (s *Server) Ready() bool { return !s.draining.Load() && s.table.ready() }

// Drain says to all who ask that the server is not ready, and closes connections
// when they have got their answer; requests are answered as before. A program that
// ends calls it first, waits as long as it takes until its clients have heard, and
// then shuts its http.Server and grpc.Server down.
func (s *Server) Drain() { s.draining.Store(true) }

// Close refuses further requests and versions, and returns when all models are
// freed: those that answer requests when these are answered, those that are being
// loaded when they are loaded. Where the context ends before, requests that wait
// get ErrClosed; what has begun is waited for.
func (s *Server) Close(ctx context.Context) error {
	s.Drain()
	s.closed.Store(true)
	var mu sync.Mutex
	var errs []error
	var left sync.WaitGroup
	for _, v := range s.table.close() {
		left.Go(func() {
			err := s.Unload(ctx, v.Name, v.Number)
			if errors.Is(err, ErrNotFound) { // it is loaded or unloaded by somebody
				<-v.gone
				return
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	left.Wait()
	s.metrics.unregister()
	return errors.Join(errs...)
}

// Predict returns the probabilities for images, uint8 [N,H,W,C], by the newest
// version of a model, as requests over the network get them: a row for each image,
// a column for each class. ErrNotFound and what Batcher.Call says may be in the
// error's chain.
func (s *Server) Predict(ctx context.Context, name string, images tensor.Tensor) ([][]float32, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("predict: %w", ErrClosed)
	}
	v, err := s.table.acquire(name, which{})
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	defer v.uses.Done()
	b, err := v.batcher("")
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	return b.Predict(ctx, images)
}

// exchange is a request over HTTP and its answer.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	route   string // for metrics
	model   string // that was found
	code    int    // of the answer
	bytes   int    // of the answer
	err     error  // that was answered
	entered bool   // it has a place among the requests at once
}

func (x *exchange) WriteHeader(code int) {
	if x.code == 0 {
		x.code = code
		x.setWriteDeadline()
	}
	x.ResponseWriter.WriteHeader(code)
}

// setWriteDeadline lets who does not read the answer not keep its memory.
func (x *exchange) setWriteDeadline() {
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout))
}

func (x *exchange) Write(data []byte) (int, error) {
	if x.code == 0 {
		x.code = http.StatusOK
		x.setWriteDeadline()
	}
	n, err := x.ResponseWriter.Write(data)
	x.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	x := &exchange{ResponseWriter: w, request: r, route: "other"}
	x.setReadDeadline(begun.Add(s.options.Limits.Read))
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	defer func() {
		if cause := recover(); cause != nil {
			s.options.Log.Error("a request brought the handler down", "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
			s.fail(x, fmt.Errorf("this request brought the server's handler down: %v", cause))
		}
		s.metrics.done("http", x.route, x.model, strconv.Itoa(x.code), time.Since(begun))
		if !s.options.Log.Enabled(r.Context(), slog.LevelDebug) {
			return
		}
		s.options.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "code", x.code, "milliseconds", float64(time.Since(begun).Microseconds())/1e3,
			"bytes_in", r.ContentLength, "bytes_out", x.bytes, "remote", r.RemoteAddr, "error", errorText(x.err))
	}()
	s.serve(x, r)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// serve finds who answers a path.
func (s *Server) serve(x *exchange, r *http.Request) {
	path := r.URL.Path
	switch path {
	case "/healthz", "/v2/health/live":
		s.health(x, true)
		return
	case "/readyz", "/v2/health/ready":
		s.health(x, s.Ready())
		return
	case "/favicon.ico":
		x.route = "page"
		x.WriteHeader(http.StatusNoContent)
		return
	}
	if !s.allowed(r.Header.Get("Authorization")) && path != "/" { // the page asks for the token itself
		x.Header().Set("WWW-Authenticate", "Bearer")
		s.metrics.reject("token")
		s.fail(x, ErrUnauthorized)
		return
	}
	switch {
	case path == "/":
		x.route = "page"
		s.page(x, r)
	case path == "/metrics":
		x.route = "metrics"
		s.metrics.handler.ServeHTTP(x, r)
	case strings.HasPrefix(path, "/debug/pprof/") && s.options.Debug:
		x.route = "debug"
		profile(x, r)
	case hasPrefixFold(path, "/v1/"):
		s.answer(x, r, s.rest)
	case path == "/v2" || strings.HasPrefix(path, "/v2/"):
		s.answer(x, r, s.oip)
	default:
		s.fail(x, errorf(ErrNotFound, "there is nothing at %s", path))
	}
}

// answer answers a request, or says why not. A place that it took is given back.
func (s *Server) answer(x *exchange, r *http.Request, with func(*exchange, *http.Request) error) {
	err := with(x, r)
	if x.entered {
		s.leave()
	}
	if err != nil {
		s.fail(x, err)
	}
}

// use lets do have the version that is asked for, which is not unloaded meanwhile.
// The answer is written afterwards: a client may take long to read it.
func (s *Server) use(x *exchange, t target, do func(*version) error) error {
	v, err := s.table.acquire(t.model, t.which)
	if err != nil {
		return err
	}
	defer v.uses.Done()
	x.model = v.Name
	return do(v)
}

// call calls a function with no more images than a request may have.
func (s *Server) call(ctx context.Context, b *Batcher, inputs tensors) (tensors, error) {
	for name, input := range inputs {
		if shape := input.Shape(); b.joins && len(shape) > 0 && shape[0] > s.options.Limits.Images {
			s.metrics.reject("images")
			return nil, errorf(ErrInput, "%q has %d images, at most %d may be in a request", name, shape[0], s.options.Limits.Images)
		}
	}
	outputs, err := b.Call(ctx, inputs)
	s.metrics.countRejected(err)
	return outputs, err
}

// enter takes a place among the requests at once; leave gives it back.
func (s *Server) enter() error {
	if s.closed.Load() {
		s.metrics.reject("closed")
		return ErrClosed
	}
	select {
	case s.working <- struct{}{}:
		return nil
	default:
		s.metrics.reject("requests")
		return fmt.Errorf("%w: %d requests are worked on", ErrOverloaded, cap(s.working))
	}
}

func (s *Server) leave() { <-s.working }

// allowed compares what came as authorization in a time that says nothing about
// how much of it is right.
func (s *Server) allowed(authorization string) bool {
	if s.options.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(s.options.Token)) == 1
}

// health answers by the code. The Open Inference Protocol wants no body.
func (s *Server) health(x *exchange, good bool) {
	x.route = "health"
	r := x.request
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(x, errMethod)
		return
	}
	code, text := http.StatusOK, "ok\n"
	if !good {
		code, text = http.StatusServiceUnavailable, "not ready\n"
	}
	if strings.HasPrefix(r.URL.Path, "/v2") {
		text = ""
	}
	x.Header().Set("Cache-Control", "no-store")
	write(x, code, "text/plain; charset=utf-8", []byte(text))
}

// profile is what net/http/pprof adds to Go's own mux.
func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/debug/pprof/") {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}
