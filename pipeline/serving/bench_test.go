package serving_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/residual-go/residual/pipeline/serving"
)

// nullWriter is a ResponseWriter that costs nothing.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header            { return w.header }
func (w *nullWriter) Write(data []byte) (int, error) { return len(data), nil }
func (w *nullWriter) WriteHeader(int)                {}

// BenchmarkInfer is what the server adds to a model for one image in the Open
// Inference Protocol's binary form, without the network.
func BenchmarkInfer(b *testing.B) {
	s, err := serving.New(&colors{}, serving.Options{Name: "colors"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	header := oipBinary()
	body := append(header, make([]byte, 48)...)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		reader := bytes.NewReader(body)
		for pb.Next() {
			reader.Reset(body)
			r := httptest.NewRequest(http.MethodPost, "/v2/models/colors/infer", reader)
			r.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(header)))
			s.ServeHTTP(&nullWriter{http.Header{}}, r)
		}
	})
}
