package serving_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"

	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/tfgo/tensor"
)

// colors is a classifier of images of 4x4 pixels: its probabilities are the shares
// of red, green and blue in the first pixel.
type colors struct {
	gate    chan struct{} // if there is one, each call waits until it is closed
	err     error         // of each call
	output  func(n int) ([]float32, []int)
	calls   atomic.Int32
	closes  atomic.Int32
	misused atomic.Int32 // calls after it was closed
}

var colorNames = []string{"red", "green", "blue"}

func (m *colors) Signature(name string) (tensor.Signature, bool) {
	return tensor.Signature{
		Inputs:  []tensor.Spec{{Name: "images", DType: tensor.Uint8, Shape: []int{tensor.AnySize, 4, 4, 3}}},
		Outputs: []tensor.Spec{{Name: "probabilities", DType: tensor.Float32, Shape: []int{tensor.AnySize, 3}}},
	}, name == "serving_default" || name == "second"
}

func (m *colors) Call(_ context.Context, _ string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	m.calls.Add(1)
	if m.closes.Load() > 0 {
		m.misused.Add(1)
		return nil, errors.New("the model is closed")
	}
	if m.gate != nil {
		<-m.gate
	}
	if m.err != nil {
		return nil, m.err
	}
	pixels, n := inputs["images"].Bytes(), inputs["images"].Shape()[0]
	values := make([]float32, 0, 3*n)
	for i := range n {
		first := pixels[i*48:][:3]
		sum := max(1, float32(first[0])+float32(first[1])+float32(first[2]))
		values = append(values, float32(first[0])/sum, float32(first[1])/sum, float32(first[2])/sum)
	}
	shape := []int{n, 3}
	if m.output != nil {
		values, shape = m.output(n)
	}
	probabilities, err := tensor.Of(values, shape...)
	return map[string]tensor.Tensor{"probabilities": probabilities}, err
}

// Close is for serving.Version.
func (m *colors) Close() error {
	m.closes.Add(1)
	return nil
}

// hold holds the model's calls from now on, when its warm-up has passed.
func (m *colors) hold() (release func()) {
	m.gate = make(chan struct{})
	return func() { close(m.gate) }
}

// serve makes a server of one model called "colors".
func serve(t *testing.T, m *colors, o serving.Options) *serving.Server {
	t.Helper()
	o.Name, o.Classes = "colors", colorNames
	s, err := serving.New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, s)
	return s
}

func closeAtEnd(t *testing.T, s *serving.Server) {
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// begun sends a request whose answer comes when release is called. The model
// computes it when begun returns.
func begun(m *colors, s http.Handler) (answer <-chan reply, release func()) {
	release = m.hold()
	before := m.calls.Load()
	answers := make(chan reply, 1)
	go func() { answers <- predict(s) }()
	for m.calls.Load() == before {
		time.Sleep(time.Millisecond)
	}
	return answers, release
}

// untilOneWaits waits until an image waits for a batch.
func untilOneWaits(t *testing.T, s http.Handler) {
	t.Helper()
	for scrape(t, s, `residual_queue_images{model="colors",version="1"}`) != "1" {
		time.Sleep(time.Millisecond)
	}
}

// reply is what came for a request.
type reply struct {
	code   int
	header http.Header
	body   string
}

func send(s http.Handler, method, path string, body []byte, headers ...string) reply {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

// is checks a reply's code, and that its body has a text.
func (r reply) is(t *testing.T, code int, text string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.body, text) {
		t.Errorf("%d %s, want %d and %q", r.code, r.body, code, text)
	}
}

// predict is a request for one image of one color.
func predict(s http.Handler, headers ...string) reply {
	return send(s, http.MethodPost, "/v1/models/colors:predict", []byte(redRow), headers...)
}

// redRow is JSON for one red image.
var redRow = `{"instances": [[` + strings.TrimSuffix(strings.Repeat("["+strings.TrimSuffix(strings.Repeat("[9,0,0],", 4), ",")+"],", 4), ",") + `]]}`

// picture is a PNG file of one color.
func picture(t testing.TB, width, height int, c color.Color) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		img.Set(i%width, i/width, c)
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

var (
	red   = color.NRGBA{R: 255, A: 255}
	green = color.NRGBA{G: 255, A: 255}
)

// scrape reads a metric of /metrics, such as `residual_rejected_total{reason="queue"}`.
func scrape(t *testing.T, s http.Handler, metric string) string {
	t.Helper()
	for line := range strings.Lines(send(s, http.MethodGet, "/metrics", nil).body) {
		if value, ok := strings.CutPrefix(line, metric+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// oipRed is the Open Inference Protocol's request for one red image.
func oipRed() []byte {
	return []byte(`{"inputs":[{"name":"images","shape":[1,4,4,3],"datatype":"UINT8","data":[` +
		strings.TrimSuffix(strings.Repeat("9,0,0,", 16), ",") + `]}]}`)
}

func colorImages(t *testing.T, n int) tensor.Tensor {
	t.Helper()
	batch, err := tensor.Of(make([]byte, n*48), n, 4, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}
