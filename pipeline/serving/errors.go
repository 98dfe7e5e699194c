package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

// What only requests over a network can be.
var (
	errMethod   = errors.New("this path does not take that method")
	errTooLarge = errors.New("the request is too large")
	errTooSlow  = errors.New("the request's body did not arrive in time")
	errGone     = errors.New("the client hung up")
)

// kindError is an error of a kind, whose text says all by itself: clients read it.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

func ofKind(kind, err error) error { return &kindError{kind, err} }

func errorf(kind error, format string, values ...any) error {
	return ofKind(kind, fmt.Errorf(format, values...))
}

// answers are the codes for errors, over gRPC and HTTP. They are TensorFlow
// Serving's, which maps one to the other in model_servers/http_server.cc. For what
// it does not know it is as usual for HTTP.
var answers = []struct {
	err  error
	grpc codes.Code
	http int
}{
	{ErrOverloaded, codes.Unavailable, http.StatusTooManyRequests},
	{ErrClosed, codes.Unavailable, http.StatusServiceUnavailable},
	{ErrNotFound, codes.NotFound, http.StatusNotFound},
	{errTooLarge, codes.ResourceExhausted, http.StatusRequestEntityTooLarge},
	{errTooSlow, codes.DeadlineExceeded, http.StatusRequestTimeout},
	{errGone, codes.Canceled, statusClientClosed},
	{errMethod, codes.Unimplemented, http.StatusMethodNotAllowed},
	{ErrNotImplemented, codes.Unimplemented, http.StatusNotImplemented},
	{ErrUnauthorized, codes.Unauthenticated, http.StatusUnauthorized},
	{ErrInput, codes.InvalidArgument, http.StatusBadRequest},
	{context.DeadlineExceeded, codes.DeadlineExceeded, http.StatusGatewayTimeout},
	{context.Canceled, codes.Canceled, statusClientClosed},
}

// statusClientClosed is nginx's code for a client that hung up; nobody reads it
// but the metrics.
const statusClientClosed = 499

// Codes returns what an error is answered with over gRPC and over HTTP.
func Codes(err error) (codes.Code, int) {
	for _, a := range answers {
		if errors.Is(err, a.err) {
			return a.grpc, a.http
		}
	}
	return codes.Internal, http.StatusInternalServerError
}

// fail answers with an error, as TensorFlow Serving and the Open Inference
// Protocol both write it: {"error": TEXT}.
func (s *Server) fail(x *exchange, err error) {
	x.err = err
	_, code := Codes(err)
	switch {
	case x.code != 0: // an answer was begun
		return
	case errors.Is(err, ErrOverloaded):
		x.Header().Set("Retry-After", "1")
	case code == http.StatusMethodNotAllowed:
		x.Header().Set("Allow", "GET, POST")
	case code == http.StatusRequestTimeout || code == http.StatusRequestEntityTooLarge:
		x.Header().Set("Connection", "close") // what is left of the body is not read
	}
	if code == http.StatusInternalServerError {
		s.options.Log.Error("a request failed", "path", x.request.URL.Path, "error", err)
	}
	writeJSON(x, code, map[string]string{"error": err.Error()})
}

// writeTimeout is how long an answer may take on its way.
const writeTimeout = time.Minute

func writeJSON(x *exchange, code int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be written as JSON"}`)
	}
	write(x, code, "application/json", text)
}

func write(x *exchange, code int, contentType string, body []byte) {
	x.Header().Set("Content-Type", contentType)
	x.Header().Set("X-Content-Type-Options", "nosniff")
	x.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(code)
	if x.request.Method != http.MethodHead {
		_, _ = x.Write(body) // who does not listen any more is not told
	}
}
