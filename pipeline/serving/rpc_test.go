package serving_test

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	tensorpb "github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	tfserving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/pipeline/serving"
)

// dial starts a gRPC server and connects to it.
func dial(t *testing.T, s *serving.Server) (*grpc.ClientConn, *grpc.Server) {
	t.Helper()
	server := grpc.NewServer(s.GRPCOptions()...)
	s.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, server
}

func redRequest(n int) *tfserving.PredictRequest {
	shape := &tensor_shape_go_proto.TensorShapeProto{}
	for _, side := range []int{n, 4, 4, 3} {
		shape.Dim = append(shape.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(side)})
	}
	return &tfserving.PredictRequest{
		ModelSpec: &tfserving.ModelSpec{Name: "colors"},
		Inputs: map[string]*tensorpb.TensorProto{
			"images": {Dtype: types_go_proto.DataType_DT_UINT8, TensorShape: shape, TensorContent: []byte(strings.Repeat("\x09\x00\x00", n*16))},
		},
	}
}

func callPredict(ctx context.Context, conn *grpc.ClientConn, in proto.Message) (*tfserving.PredictResponse, error) {
	out := &tfserving.PredictResponse{}
	return out, conn.Invoke(ctx, "/tensorflow.serving.PredictionService/Predict", in, out)
}

func TestGRPC(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	conn, _ := dial(t, s)
	out, err := callPredict(t.Context(), conn, redRequest(2))
	if err != nil {
		t.Fatal(err)
	}
	if got := out.GetOutputs()["probabilities"].GetFloatVal(); len(got) != 6 || got[0] != 1 || got[3] != 1 {
		t.Errorf("probabilities %v", got)
	}
	if got := scrape(t, s, `residual_requests_total{code="OK",model="colors",protocol="grpc",route="grpc_predict"}`); got != "1" {
		t.Errorf("%s requests counted", got)
	}
	if err := conn.Invoke(t.Context(), "/tensorflow.serving.PredictionService/Classify", redRequest(1), out); status.Code(err) != codes.Unimplemented {
		t.Errorf("error: %v", err)
	}
	// What says nothing of its elements has zeros, and may not be of any size.
	empty := redRequest(1)
	empty.Inputs["images"].TensorContent = nil
	if _, err := callPredict(t.Context(), conn, empty); err != nil {
		t.Error(err)
	}
	empty.Inputs["images"].TensorShape.Dim[0].Size = 1 << 30
	if _, err := callPredict(t.Context(), conn, empty); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error: %v", err)
	}
	empty.Inputs["images"].TensorShape.Dim[0].Size = -1
	if _, err := callPredict(t.Context(), conn, empty); status.Code(err) != codes.InvalidArgument {
		t.Errorf("error: %v", err)
	}
}

func TestGRPCToken(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Token: "secret"})
	conn, _ := dial(t, s)
	if _, err := callPredict(t.Context(), conn, redRequest(1)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("error: %v", err)
	}
	if _, err := callPredict(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret"), conn, redRequest(1)); err != nil {
		t.Error(err)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

func TestGRPCOverload(t *testing.T) {
	m := &colors{}
	s := serve(t, m, serving.Options{Limits: serving.Limits{Requests: 1}})
	conn, _ := dial(t, s)
	release := m.hold()
	before := m.calls.Load()
	first := make(chan error)
	go func() {
		_, err := callPredict(context.Background(), conn, redRequest(1))
		first <- err
	}()
	for m.calls.Load() == before {
		time.Sleep(time.Millisecond)
	}
	// The other connection: this one has one stream at once.
	other, _ := dial(t, s)
	if _, err := callPredict(t.Context(), other, redRequest(1)); status.Code(err) != codes.Unavailable {
		t.Errorf("error: %v", err)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestGRPCHealth(t *testing.T) {
	s := emptyServer(t, serving.Options{})
	s.Announce("colors")
	conn, server := dial(t, s)
	client := healthpb.NewHealthClient(conn)
	check := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	check("", healthpb.HealthCheckResponse_NOT_SERVING)
	load(t, s, 1, &colors{})
	check("tensorflow.serving.PredictionService", healthpb.HealthCheckResponse_SERVING)
	check("tensorflow.serving.ModelService", healthpb.HealthCheckResponse_SERVING)
	next(healthpb.HealthCheckResponse_SERVING)
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("error: %v", err)
	}
	s.Drain()
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	server.GracefulStop() // does not wait for who watches
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("error: %v", err)
	}
}

// Tools such as grpcurl learn from the server what it has.
func TestGRPCReflection(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	conn, _ := dial(t, s)
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(in *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(in); err != nil {
			t.Fatal(err)
		}
		out, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if text := list.String(); !strings.Contains(text, "tensorflow.serving.PredictionService") || !strings.Contains(text, "tensorflow.serving.ModelService") {
		t.Errorf("services: %s", text)
	}
	file := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "tensorflow.serving.PredictionService"}})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("descriptors: %v", file)
	}
}

// A message of a few bytes does not make gigabytes.
func TestGRPCMessagesThatStandForMuch(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{})
	conn, _ := dial(t, s)
	in := redRequest(1)
	for i := range 1000 {
		in.Inputs[strconv.Itoa(i)] = &tensorpb.TensorProto{
			Dtype: types_go_proto.DataType_DT_UINT8, IntVal: []int32{1},
			TensorShape: &tensor_shape_go_proto.TensorShapeProto{Dim: []*tensor_shape_go_proto.TensorShapeProto_Dim{{Size: 16 << 20}}},
		}
	}
	refused := func(text string) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := callPredict(t.Context(), conn, in)
		runtime.ReadMemStats(&after)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), text) {
			t.Errorf("error: %v", err)
		}
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 50_000_000 {
			t.Errorf("it took %d MB", cost/1_000_000)
		}
	}
	refused("there is no input")
	in = redRequest(1)
	in.Inputs["images"].TensorContent, in.Inputs["images"].IntVal = nil, []int32{1}
	in.Inputs["images"].TensorShape.Dim[1].Size = 1 << 20
	refused("must be uint8 [N,4,4,3]")
	in = redRequest(1)
	in.OutputFilter = make([]string, 10_000)
	refused("10000 outputs are wanted")
}

// Who has no token sends no message: it is not waited for.
func TestGRPCAsksForTheTokenFirst(t *testing.T) {
	s := serve(t, &colors{}, serving.Options{Token: "secret", Limits: serving.Limits{Read: 50 * time.Millisecond}})
	conn, _ := dial(t, s)
	open := func(ctx context.Context) error {
		t.Helper()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/tensorflow.serving.PredictionService/Predict")
		if err != nil {
			t.Fatal(err)
		}
		return stream.RecvMsg(&tfserving.PredictResponse{}) // nothing has been sent
	}
	if err := open(t.Context()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("error: %v", err)
	}
	if err := open(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error: %v", err)
	}
}
