package serving_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/residual-go/residual/pipeline/serving"
)

func TestHealth(t *testing.T) {
	s, err := serving.NewServer(serving.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Announce("colors")
	ready := func(want int) {
		t.Helper()
		for path, code := range map[string]int{"/healthz": 200, "/v2/health/live": 200, "/readyz": want, "/v2/health/ready": want} {
			if got := send(s, http.MethodGet, path, nil); got.code != code || strings.HasPrefix(path, "/v2") && got.body != "" {
				t.Errorf("%s: %d %q, want %d", path, got.code, got.body, code)
			}
		}
	}
	ready(503)
	m := &colors{}
	if err := s.Load(t.Context(), serving.Version{Name: "colors", Number: 3, Model: m, Classes: colorNames, Close: m.Close}); err != nil {
		t.Fatal(err)
	}
	ready(200)
	s.Announce("more")
	ready(503)
	send(s, http.MethodPost, "/healthz", nil).is(t, 405, "method")
	if got := send(s, http.MethodHead, "/readyz", nil); got.code != 503 || got.body != "" {
		t.Errorf("HEAD is answered with %d %q", got.code, got.body)
	}
	if err := s.Close(context.Background()); err != nil || m.closes.Load() != 1 {
		t.Errorf("%v, closed %d times", err, m.closes.Load())
	}
}

func TestDrainingAndClosing(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{})
	if got := predict(s); got.code != 200 || got.header.Get("Connection") != "" {
		t.Errorf("%d, connection %q", got.code, got.header.Get("Connection"))
	}
	s.Drain()
	if got := predict(s); got.code != 200 || got.header.Get("Connection") != "close" {
		t.Errorf("while it drains: %d, connection %q", got.code, got.header.Get("Connection"))
	}
	send(s, http.MethodGet, "/readyz", nil).is(t, 503, "not ready")
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	predict(s).is(t, 503, "closed")
	if m.closes.Load() != 0 {
		t.Error("New's model was closed: it belongs to the caller")
	}
}

func TestToken(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Token: "secret"})
	for _, authorization := range []string{"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "Bearer  secret"} {
		for _, path := range []string{"/v1/models/colors", "/v2", "/metrics", "/nothing", "/v2/repository/index"} {
			got := send(s, http.MethodGet, path, nil, "Authorization", authorization)
			if got.is(t, 401, "token"); got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%q: %v", authorization, got.header)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/v2/health/ready", "/"} {
		send(s, http.MethodGet, path, nil).is(t, 200, "")
	}
	predict(s, "Authorization", "Bearer secret").is(t, 200, "predictions")
	predict(s, "Authorization", "bearer secret").is(t, 200, "predictions")
	if got := scrape(t, authorized{s}, `residual_rejected_total{reason="token"}`); got != "40" {
		t.Errorf("%s rejected", got)
	}
}

// authorized sends the token with all requests.
type authorized struct{ http.Handler }

func (a authorized) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Set("Authorization", "Bearer secret")
	a.Handler.ServeHTTP(w, r)
}

func TestPaths(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	for _, c := range []struct {
		method, path string
		code         int
		text         string
	}{
		{"GET", "/", 200, "<!doctype html>"},
		{"POST", "/", 405, "method"},
		{"GET", "/favicon.ico", 204, ""},
		{"GET", "/index.html", 404, "nothing at /index.html"},
		{"GET", "/v1", 404, "nothing at"},
		{"GET", "/v1/models/colors", 200, "AVAILABLE"},
		{"GET", "/v1/models/col%6Frs", 200, "AVAILABLE"},
		{"GET", "/v1/models/%zz", 400, ""},
		{"GET", "/v2/", 200, `"name":"residual"`},
		{"GET", "/v2/models/colors/versions/1", 200, `"versions":["1"]`},
		{"GET", "/v2/models/colors/versions//ready", 200, ""}, // as Triton's clients ask
		{"DELETE", "/v2/models/colors", 405, "method"},
		{"DELETE", "/v2/repository/index", 405, "method"},
		{"POST", "/v2", 405, "method"},
		{"GET", "/metrics", 200, "residual_ready 1"},
		{"GET", "/debug/pprof/", 404, "nothing at"},
	} {
		path := c.path
		if path == "/v1/models/%zz" {
			path = "/v1/models/%25zz" // what is not a path never comes through net/http
			c.code = 404
		}
		send(s, c.method, path, nil).is(t, c.code, c.text)
	}
	debug := serve(t, &colors{}, serving.Options{Debug: true})
	for _, page := range []string{"", "cmdline", "symbol", "goroutine?debug=1"} {
		send(debug, http.MethodGet, "/debug/pprof/"+page, nil).is(t, 200, "")
	}
}

func TestMetrics(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	for range 3 {
		predict(s)
	}
	send(s, http.MethodPost, "/v1/models/nobody:predict", nil)
	for metric, want := range map[string]string{
		`residual_requests_total{code="200",model="colors",protocol="http",route="rest_predict"}`: "3",
		`residual_requests_total{code="404",model="",protocol="http",route="rest_predict"}`:       "1",
		`residual_batch_images_count{model="colors"}`:                                             "4", // and the one that was checked
		`residual_batch_images_sum{model="colors"}`:                                               "4",
		`residual_queue_images{model="colors",version="1"}`:                                       "0",
		`residual_model_version_state{model="colors",state="AVAILABLE",version="1"}`:              "1",
	} {
		if got := scrape(t, s, metric); got != want {
			t.Errorf("%s is %q, want %s", metric, got, want)
		}
	}
	if scrape(t, s, "process_resident_memory_bytes") == "" {
		t.Error("it does not tell of the process's memory")
	}
}

func TestTooManyRequestsAtOnce(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{Limits: serving.Limits{Requests: 1}})
	first, release := begun(m, s)
	second := predict(s)
	second.is(t, 429, "1 requests are worked on")
	if second.header.Get("Retry-After") != "1" {
		t.Errorf("headers: %v", second.header)
	}
	release()
	(<-first).is(t, 200, "predictions")
	predict(s).is(t, 200, "predictions")
	if got := scrape(t, s, `residual_rejected_total{reason="requests"}`); got != "1" {
		t.Errorf("%s rejected", got)
	}
}

func TestOverload(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{Batch: serving.BatchOptions{MaxWaiting: 1}})
	first, release := begun(m, s)
	second := make(chan reply)
	go func() { second <- predict(s) }()
	untilOneWaits(t, s)
	third := predict(s)
	third.is(t, 429, "overloaded: 1 images wait, of at most 1")
	if third.header.Get("Retry-After") != "1" {
		t.Errorf("headers: %v", third.header)
	}
	release()
	(<-first).is(t, 200, "predictions")
	(<-second).is(t, 200, "predictions")
}

func TestAModelThatFails(t *testing.T) {
	m := &colors{}
	var log bytes.Buffer
	s := serve(t, m, serving.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	m.err = errors.New("it is ill")
	predict(s).is(t, 500, "it is ill")
	if !strings.Contains(log.String(), "it is ill") {
		t.Errorf("the log says %s", log.String())
	}
}

// What comes out of a model later is not looked at: NaN is written, as TensorFlow
// Serving does.
func TestNumbersThatAreNone(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{})
	m.output = func(n int) ([]float32, []int) {
		return []float32{float32(math.NaN()), float32(math.Inf(1)), 1}, []int{1, 3}
	}
	predict(s).is(t, 200, "[NaN, Infinity, 1.0]")
	infer := []byte(`{"inputs":[{"name":"images","shape":[1,4,4,3],"datatype":"UINT8","data":[` + strings.TrimSuffix(strings.Repeat("1,", 48), ",") + `]}]}`)
	send(s, http.MethodPost, "/v2/models/colors/infer", infer).is(t, 200, `"data":[NaN, Infinity, 1.0]`)
}

// A request that may not take longer, and one whose client has gone, are not
// computed.
func TestLateAndGone(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{})
	before := m.calls.Load()
	first, release := begun(m, s)
	late := []byte(`{"parameters":{"timeout":1000},"inputs":[{"name":"images","shape":[1,4,4,3],"datatype":"UINT8","data":[` + strings.TrimSuffix(strings.Repeat("1,", 48), ",") + `]}]}`)
	send(s, http.MethodPost, "/v2/models/colors/infer", late).is(t, 504, "deadline")
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan int)
	go func() {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/models/colors:predict", strings.NewReader(redRow))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		gone <- w.Code
	}()
	untilOneWaits(t, s)
	hangUp()
	if code := <-gone; code != 499 {
		t.Errorf("a client that has gone is answered %d", code)
	}
	release()
	(<-first).is(t, 200, "predictions")
	if n := m.calls.Load() - before; n != 1 {
		t.Errorf("%d calls: what nobody waits for was computed", n)
	}
	for _, reason := range []string{"late", "gone"} {
		if got := scrape(t, s, `residual_rejected_total{reason="`+reason+`"}`); got != "1" {
			t.Errorf("%s: %s rejected", reason, got)
		}
	}
}

func TestRequestsAreLogged(t *testing.T) {
	var log bytes.Buffer
	s := serve(t, &colors{}, serving.Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	log.Reset()
	predict(s)
	send(s, http.MethodPost, "/v1/models/nobody:predict", nil)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	var got struct {
		Path, Error string
		Code        int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil || len(lines) != 2 || got.Code != 404 || got.Path != "/v1/models/nobody:predict" || got.Error == "" {
		t.Errorf("%v, the log says\n%s", err, log.String())
	}
	if strings.Contains(log.String(), "9,0,0") {
		t.Errorf("the log has a request's data:\n%s", log.String())
	}
}

func TestServerRefusesOptions(t *testing.T) {
	for _, o := range []serving.Options{
		{Limits: serving.Limits{Body: -1}}, {Limits: serving.Limits{Images: -1}}, {Limits: serving.Limits{Pixels: -1}},
		{Limits: serving.Limits{Requests: -1}}, {Limits: serving.Limits{Read: -1}}, {Batch: serving.BatchOptions{MaxBatch: -1}},
	} {
		if _, err := serving.NewServer(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// Other functions than serving_default are served when they are asked for.
func TestSignatures(t *testing.T) {
	body := func(name string) []byte {
		return []byte(strings.Replace(redRow, "{", `{"signature_name": "`+name+`", `, 1))
	}
	s := serve(t, &colors{}, serving.Options{Signatures: []string{"serving_default", "second"}})
	for name, code := range map[string]int{"": 200, "serving_default": 200, "second": 200, "third": 400} {
		send(s, http.MethodPost, "/v1/models/colors:predict", body(name)).is(t, code, "")
	}
	send(s, http.MethodGet, "/v1/models/colors/metadata", nil).is(t, 200, `"second"`)
	if _, err := serving.New(&colors{}, serving.Options{Signatures: []string{"third"}}); err == nil || !strings.Contains(err.Error(), "third") {
		t.Errorf("error: %v", err)
	}
}
