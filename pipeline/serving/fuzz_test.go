package serving_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	tensorpb "github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	tfserving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/pipeline/serving"
)

// fuzzed is a server whose requests may be anything. Nothing that a client sends
// brings it down, or is answered with a code that docs/serving.md does not have.
func fuzzed(f *testing.F) *serving.Server {
	f.Helper()
	s, err := serving.New(&colors{}, serving.Options{Name: "colors", Classes: colorNames, Limits: serving.Limits{Images: 64, Body: 1 << 16}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			f.Error(err)
		}
	})
	return s
}

func FuzzHTTP(f *testing.F) {
	s := fuzzed(f)
	for _, path := range []string{"v1/models/colors:predict", "v1/models/colors:classify", "v1/models/colors/metadata", "v2/models/colors/infer", "v2", "metrics", "v1/models/colors/versions/1:predict", "v2/models/colors/versions/1/ready"} {
		f.Add(true, path, []byte(redRow), "", "", "")
		f.Add(false, path, []byte{}, "", "", "")
	}
	f.Add(true, "v2/models/colors/infer", append(oipBinary(), make([]byte, 48)...), strconv.Itoa(len(oipBinary())), "", "")
	f.Add(true, "v2/models/colors/infer", oipRed(), "", "gzip", "")
	f.Add(true, "v1/models/colors:predict", []byte(`{"inputs": {"images": []}, "signature_name": "serving_default"}`), "", "", "")
	f.Add(true, "v1/models/colors:classify", picture(f, 3, 3, red), "", "", "")
	f.Add(true, "v1/models/colors:classify", []byte("--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\nabc\r\n--x--\r\n"), "", "", "multipart/form-data; boundary=x")
	allowed := []int{200, 204, 400, 404, 405, 413, 501}
	f.Fuzz(func(t *testing.T, post bool, path string, body []byte, header, encoding, contentType string) {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		// What is no request line does not come through net/http.
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x/"+path, nil)
		if err != nil || strings.ContainsFunc(r.URL.RequestURI(), func(c rune) bool { return c <= ' ' }) {
			return
		}
		got := send(s, method, r.URL.RequestURI(), body, "Inference-Header-Content-Length", header, "Content-Encoding", encoding, "Content-Type", contentType)
		if !slices.Contains(allowed, got.code) {
			t.Fatalf("%s %q is answered %d %s", method, path, got.code, got.body)
		}
		var answer struct{ Error string }
		if got.code >= 400 && (json.Unmarshal([]byte(got.body), &answer) != nil || answer.Error == "") {
			t.Fatalf("%s %q: %d without an error: %q", method, path, got.code, got.body)
		}
	})
}

// oipBinary is the JSON of a request for one image whose bytes stand behind it.
func oipBinary() []byte {
	return []byte(`{"inputs":[{"name":"images","shape":[1,4,4,3],"datatype":"UINT8","parameters":{"binary_data_size":48}}],"parameters":{"binary_data_output":true}}`)
}

// handlers collects what Register gives a gRPC server.
type handlers struct {
	*grpc.Server
	methods map[string]func(message []byte) error
}

func (h *handlers) RegisterService(desc *grpc.ServiceDesc, implementation any) {
	for _, method := range desc.Methods {
		h.methods[method.MethodName] = func(message []byte) error {
			_, err := method.Handler(implementation, context.Background(), func(in any) error {
				if err := proto.Unmarshal(message, in.(proto.Message)); err != nil {
					return status.Error(codes.InvalidArgument, err.Error())
				}
				return nil
			}, nil)
			return err
		}
	}
}

func FuzzGRPC(f *testing.F) {
	s := fuzzed(f)
	h := &handlers{grpc.NewServer(), map[string]func([]byte) error{}}
	s.Register(h)
	add := func(method string, message proto.Message) {
		data, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(method, data)
	}
	add("Predict", redRequest(1))
	short := redRequest(2)
	short.Inputs["images"].TensorContent, short.Inputs["images"].IntVal = nil, []int32{7, 1 << 20}
	add("Predict", short)
	add("Predict", &tfserving.PredictRequest{ModelSpec: &tfserving.ModelSpec{Name: "colors"}, Inputs: map[string]*tensorpb.TensorProto{"images": {}}, OutputFilter: []string{"x"}})
	add("GetModelMetadata", &tfserving.GetModelMetadataRequest{ModelSpec: &tfserving.ModelSpec{Name: "colors"}, MetadataField: []string{"signature_def"}})
	add("GetModelStatus", &tfserving.GetModelStatusRequest{ModelSpec: &tfserving.ModelSpec{Name: "colors"}})
	allowed := []codes.Code{codes.OK, codes.InvalidArgument, codes.NotFound}
	f.Fuzz(func(t *testing.T, method string, message []byte) {
		call, ok := h.methods[method]
		if !ok {
			call = h.methods["Predict"]
		}
		if err := call(message); !slices.Contains(allowed, status.Code(err)) {
			t.Fatalf("%s: %v", method, err)
		}
	})
}
