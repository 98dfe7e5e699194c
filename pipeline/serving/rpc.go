package serving

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/residual-go/residual/tfgo/tensor"
)

// GRPCOptions are for the grpc.Server that Register is called with: they bound the
// size of messages as Limits.Body does.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	const envelope = 1 << 16 // what a message has besides its tensors
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(s.options.Limits.Body + envelope), grpc.MaxConcurrentStreams(uint32(s.options.Limits.Requests))}
}

// Register adds TensorFlow Serving's services to a *grpc.Server:
// tensorflow.serving.PredictionService with Predict and GetModelMetadata,
// tensorflow.serving.ModelService with GetModelStatus; and those of gRPC for health
// and reflection. What else these services have is answered as UNIMPLEMENTED.
func (s *Server) Register(r reflection.GRPCServer) {
	for _, service := range services {
		r.RegisterService(&service, s)
	}
	healthpb.RegisterHealthServer(r, grpcHealth{server: s})
	reflection.Register(r)
}

// services describe what graft has the messages of, and no stubs
// (tensorflow_serving/apis/prediction_service.proto and model_service.proto).
var services = []grpc.ServiceDesc{
	{
		ServiceName: "tensorflow.serving.PredictionService", HandlerType: (*any)(nil), Metadata: "tensorflow_serving/apis/prediction_service.proto",
		Methods: []grpc.MethodDesc{
			{MethodName: "Predict", Handler: unary("tensorflow.serving.PredictionService/Predict", "grpc_predict", (*Server).grpcPredict)},
			{MethodName: "GetModelMetadata", Handler: unary("tensorflow.serving.PredictionService/GetModelMetadata", "grpc_metadata", (*Server).grpcMetadata)},
		},
	},
	{
		ServiceName: "tensorflow.serving.ModelService", HandlerType: (*any)(nil), Metadata: "tensorflow_serving/apis/model_service.proto",
		Methods: []grpc.MethodDesc{{MethodName: "GetModelStatus", Handler: unary("tensorflow.serving.ModelService/GetModelStatus", "grpc_status", (*Server).grpcStatus)}},
	},
}

// message is a pointer to a message.
type message[T any] interface {
	*T
	proto.Message
}

// unary makes gRPC's handler of a method, whose name has its service's before it.
func unary[In any, InP message[In], Out any](method, route string, answer func(*Server, context.Context, InP, *call) (*Out, error)) grpc.MethodHandler {
	return func(server any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		s := server.(*Server)
		in := InP(new(In))
		if err := s.receive(ctx, func() error { return decode(in) }); err != nil {
			return nil, err
		}
		handler := func(ctx context.Context, request any) (any, error) {
			return s.grpcAnswer(ctx, route, func(c *call) (any, error) { return answer(s, ctx, request.(InP), c) })
		}
		if interceptor == nil {
			return handler(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: server, FullMethod: "/" + method}, handler)
	}
}

// receive waits for a message, of those who have the token and for as long as a body
// may take.
func (s *Server) receive(ctx context.Context, decode func() error) error {
	if !s.allowed(authorization(ctx)) {
		s.metrics.reject("token")
		return status.Error(codes.Unauthenticated, ErrUnauthorized.Error())
	}
	received := make(chan error, 1) // after the method has returned gRPC ends the stream, and decode
	go func() { received <- decode() }()
	timer := time.NewTimer(s.options.Limits.Read)
	defer timer.Stop()
	select {
	case err := <-received:
		return err
	case <-timer.C:
		s.metrics.reject("slow")
		return status.Error(codes.DeadlineExceeded, errTooSlow.Error())
	}
}

// call is what metrics want to know of a method's call.
type call struct{ model string }

// grpcAnswer does for a call what ServeHTTP does for a request.
func (s *Server) grpcAnswer(ctx context.Context, route string, answer func(*call) (any, error)) (out any, err error) {
	begun := time.Now()
	c := &call{}
	defer func() {
		if cause := recover(); cause != nil {
			s.options.Log.Error("a request brought the handler down", "method", route, "cause", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("this request brought the server's handler down: %v", cause)
		}
		code := codes.OK
		if err != nil {
			code, _ = Codes(err)
		}
		if code == codes.Internal {
			s.options.Log.Error("a request failed", "method", route, "error", err)
		}
		s.metrics.done("grpc", route, c.model, code.String(), time.Since(begun))
		s.options.Log.Debug("request", "method", route, "code", code.String(), "milliseconds", float64(time.Since(begun).Microseconds())/1e3, "error", errorText(err))
		if err != nil {
			out, err = nil, status.Error(code, err.Error())
		}
	}()
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	return answer(c)
}

func authorization(ctx context.Context) string {
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		return values[0]
	}
	return ""
}

// readSpec reads which version a message asks for.
func readSpec(spec *serving.ModelSpec) (string, which, error) {
	if spec == nil {
		return "", which{}, errorf(ErrInput, "Missing ModelSpec")
	}
	w := which{label: spec.GetVersionLabel()}
	if number := spec.GetVersion(); number != nil {
		value := number.GetValue()
		w.number = &value
	}
	return spec.GetName(), w, nil
}

func (s *Server) grpcAcquire(spec *serving.ModelSpec, c *call) (*version, error) {
	name, w, err := readSpec(spec)
	if err != nil {
		return nil, err
	}
	v, err := s.table.acquire(name, w)
	if err == nil {
		c.model = v.Name
	}
	return v, err
}

func (s *Server) grpcPredict(ctx context.Context, in *serving.PredictRequest, c *call) (*serving.PredictResponse, error) {
	v, err := s.grpcAcquire(in.GetModelSpec(), c)
	if err != nil {
		return nil, err
	}
	defer v.uses.Done()
	b, err := v.batcher(in.GetModelSpec().GetSignatureName())
	if err != nil {
		return nil, err
	}
	inputs := tensors{}
	left := s.options.Limits.Body
	for name, message := range in.GetInputs() {
		spec, ok := tensor.Find(b.signature.Inputs, name)
		if !ok {
			return nil, errorf(ErrInput, "there is no input %q, only the inputs %s", name, strings.Join(tensor.Names(b.signature.Inputs), ", "))
		}
		if inputs[name], err = fromProto(message, spec, left); err != nil {
			return nil, errorf(ErrInput, "input %q: %w", name, err)
		}
		left -= len(inputs[name].Bytes())
	}
	outputs, err := s.call(ctx, b, inputs)
	if err != nil {
		return nil, err
	}
	wanted := in.GetOutputFilter()
	if len(wanted) == 0 {
		wanted = slices.Sorted(maps.Keys(outputs))
	}
	if len(wanted) > mostTensors {
		return nil, errorf(ErrInput, "%d outputs are wanted, and there are only %s", len(wanted), strings.Join(slices.Sorted(maps.Keys(outputs)), ", "))
	}
	out := &serving.PredictResponse{ModelSpec: v.spec(b.options.Signature), Outputs: protoTensors{}}
	for _, name := range wanted {
		output, ok := outputs[name]
		if !ok {
			return nil, errorf(ErrInput, "output tensor alias not found in signature: %s", name)
		}
		out.Outputs[name] = toProto(output)
	}
	return out, nil
}

// spec names a version in an answer.
func (v *version) spec(signature string) *serving.ModelSpec {
	return &serving.ModelSpec{
		Name: v.Name, SignatureName: signature,
		VersionChoice: &serving.ModelSpec_Version{Version: wrapperspb.Int64(v.Number)},
	}
}

// metadataField is the only one that TensorFlow Serving has.
const metadataField = "signature_def"

func (s *Server) grpcMetadata(_ context.Context, in *serving.GetModelMetadataRequest, c *call) (*serving.GetModelMetadataResponse, error) {
	if len(in.GetMetadataField()) == 0 {
		return nil, errorf(ErrInput, "GetModelMetadataRequest must specify at least one metadata_field")
	}
	for _, field := range in.GetMetadataField() {
		if field != metadataField {
			return nil, errorf(ErrInput, "Metadata field %s is not supported", field)
		}
	}
	v, err := s.grpcAcquire(in.GetModelSpec(), c)
	if err != nil {
		return nil, err
	}
	defer v.uses.Done()
	defs, err := anypb.New(v.signatureDefs())
	if err != nil {
		return nil, err
	}
	return &serving.GetModelMetadataResponse{ModelSpec: v.spec(""), Metadata: map[string]*anypb.Any{metadataField: defs}}, nil
}

func (s *Server) grpcStatus(_ context.Context, in *serving.GetModelStatusRequest, c *call) (*serving.GetModelStatusResponse, error) {
	name, w, err := readSpec(in.GetModelSpec())
	if err != nil {
		return nil, err
	}
	out, err := s.modelStatus(name, w)
	if err == nil {
		c.model = name
	}
	return out, err
}

// grpcHealth answers for the server as a whole and each of its services
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
type grpcHealth struct {
	healthpb.UnimplementedHealthServer
	server *Server
}

// Check is healthpb.HealthServer's.
func (g grpcHealth) Check(_ context.Context, in *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if !g.knows(in.GetService()) {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthpb.HealthCheckResponse{Status: g.status()}, nil
}

// knows tells whether a service is one of this server's; "" stands for it as a
// whole.
func (g grpcHealth) knows(name string) bool {
	return name == "" || slices.ContainsFunc(services, func(service grpc.ServiceDesc) bool { return service.ServiceName == name })
}

func (g grpcHealth) status() healthpb.HealthCheckResponse_ServingStatus {
	if g.server.Ready() {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}

// Watch is healthpb.HealthServer's: it tells of each change, for as long as the
// client listens.
func (g grpcHealth) Watch(in *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	const every = 500 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	told := healthpb.HealthCheckResponse_UNKNOWN
	for {
		ends := g.server.draining.Load()
		now := healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		if g.knows(in.GetService()) {
			now = g.status()
		}
		if now != told {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			told = now
		}
		if ends { // a server that stops in good order waits for this
			return status.Error(codes.Unavailable, ErrClosed.Error())
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-ticker.C:
		}
	}
}
