package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics says. Each server has its own.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec   // protocol, route, model, code
	seconds  *prometheus.HistogramVec // protocol, route, model
	images   *prometheus.HistogramVec // model
	batches  *prometheus.HistogramVec // model
	rejected *prometheus.CounterVec   // reason

	registry *prometheus.Registry
	own      []prometheus.Collector // that are registered
}

func newMetrics(s *Server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "residual_requests_total", Help: "Requests that were answered, by the code of the answer.",
		}, []string{"protocol", "route", "model", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "residual_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), // to 16 s
		}, []string{"protocol", "route", "model"}),
		images: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "residual_batch_images", Help: "Images that were computed at once.",
			Buckets: []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256},
		}, []string{"model"}),
		batches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "residual_batch_seconds", Help: "Time that a batch took the model.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"model"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "residual_rejected_total", Help: "Requests that a limit refused, by which.",
		}, []string{"reason"}),
	}
	registry := s.options.Metrics
	all := []prometheus.Collector{m.requests, m.seconds, m.images, m.batches, m.rejected, versions{s}}
	if registry == nil {
		registry = prometheus.NewRegistry()
		all = append(all, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	m.registry = registry
	for _, collector := range all {
		if err := registry.Register(collector); err != nil {
			m.unregister()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
		m.own = append(m.own, collector)
	}
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m, nil
}

// unregister lets another server use the registry.
func (m *metrics) unregister() {
	for _, collector := range m.own {
		m.registry.Unregister(collector)
	}
}

func (m *metrics) done(protocol, route, model, code string, took time.Duration) {
	m.requests.WithLabelValues(protocol, route, model, code).Inc()
	m.seconds.WithLabelValues(protocol, route, model).Observe(took.Seconds())
}

func (m *metrics) reject(reason string) { m.rejected.WithLabelValues(reason).Inc() }

func (m *metrics) onBatch(model string) func(int, time.Duration) {
	images, seconds := m.images.WithLabelValues(model), m.batches.WithLabelValues(model)
	return func(n int, took time.Duration) {
		images.Observe(float64(n))
		seconds.Observe(took.Seconds())
	}
}

// versions tells of models as they are when it is asked.
type versions struct{ server *Server }

var (
	versionDesc = prometheus.NewDesc("residual_model_version_state", "1 for the state that a version is in.", []string{"model", "version", "state"}, nil)
	waitingDesc = prometheus.NewDesc("residual_queue_images", "Images that wait for a batch.", []string{"model", "version"}, nil)
	readyDesc   = prometheus.NewDesc("residual_ready", "1 if all models can be asked.", nil, nil)
)

// Describe is prometheus.Collector's.
func (v versions) Describe(to chan<- *prometheus.Desc) {
	to <- versionDesc
	to <- waitingDesc
	to <- readyDesc
}

// Collect is prometheus.Collector's.
func (v versions) Collect(to chan<- prometheus.Metric) {
	for _, one := range v.server.table.allStatuses() {
		to <- prometheus.MustNewConstMetric(versionDesc, prometheus.GaugeValue, 1, one.name, one.version(), one.state.String())
		if one.available() {
			to <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(one.waiting), one.name, one.version())
		}
	}
	ready := 0.0
	if v.server.Ready() {
		ready = 1
	}
	to <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
}

// countRejected counts calls that came to nothing for want of time or room.
func (m *metrics) countRejected(err error) {
	switch {
	case errors.Is(err, ErrOverloaded):
		m.reject("queue")
	case errors.Is(err, ErrClosed):
		m.reject("closed")
	case errors.Is(err, context.DeadlineExceeded):
		m.reject("late")
	case errors.Is(err, context.Canceled):
		m.reject("gone")
	}
}
