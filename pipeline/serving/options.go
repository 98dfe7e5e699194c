package serving

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/residual-go/residual/pipeline"
)

// Options says how a server works. The zero value is fine.
type Options struct {
	// Name is what New's model is called in requests; "" means "model".
	Name string
	// Classes are the names of what New's model tells apart, in label order; nil means
	// that they are numbered.
	Classes []string
	// Signatures are the functions that are served; nil means serving_default. Requests that
	// name none mean serving_default, or the first one where that is not served.
	Signatures []string
	// Batch says how requests are joined. Its Signature and OnBatch are the server's own.
	Batch  BatchOptions
	Limits Limits
	// Token must come with each request, as "Authorization: Bearer TOKEN", but for those
	// about health; "" means that anybody may ask.
	Token string
	// Log hears what becomes of models, and at level debug of each request; nil means
	// nobody does.
	Log *slog.Logger
	// Metrics is where the server's metrics are registered until Close, and what /metrics
	// shows; nil means a registry of its own, with those of Go and of the process.
	Metrics *prometheus.Registry
	// Version is what the server says its own version is.
	Version string
	// Debug adds /debug/pprof.
	Debug bool
}

// Limits bound what a request may cost. What is zero is as said here.
type Limits struct {
	// Body is the most bytes of a request, also when it is unpacked; 0 means 16 MiB.
	Body int
	// Images is the most images of a request; 0 means 1024.
	Images int
	// Pixels is the most of an image that is decoded, see imagefile.DecodeAtMost; 0 means
	// 16 million.
	Pixels int
	// Requests is how many are worked on at once; 0 means 512.
	Requests int
	// Read is how long a body may take to arrive; 0 means 30 seconds.
	Read time.Duration
}

const (
	defaultName     = "model"
	defaultImages   = 1024
	defaultBody     = 16 << 20
	defaultPixels   = 16_000_000
	defaultRequests = 512
	defaultRead     = 30 * time.Second
)

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, defaultName)
	if len(o.Signatures) == 0 {
		o.Signatures = []string{pipeline.PredictSignature}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &o.Limits
	l.Body = cmp.Or(l.Body, defaultBody)
	l.Images = cmp.Or(l.Images, defaultImages)
	l.Pixels = cmp.Or(l.Pixels, defaultPixels)
	l.Requests = cmp.Or(l.Requests, defaultRequests)
	l.Read = cmp.Or(l.Read, defaultRead)
	return o
}

func (o Options) check() error {
	if min(o.Limits.Body, o.Limits.Images, o.Limits.Pixels, o.Limits.Requests, int(o.Limits.Read)) < 0 {
		return fmt.Errorf("check options: no limit may be negative: %+v", o.Limits)
	}
	for i, name := range o.Signatures {
		if slices.Contains(o.Signatures[:i], name) {
			return fmt.Errorf("check options: the signature %q is there twice", name)
		}
	}
	return o.Batch.withDefaults().check()
}
