package serving

import (
	"maps"
	"slices"

	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	errorcodes "github.com/wamuir/graft/tensorflow/tsl/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// message is TensorFlow Serving's.
func (s versionStatus) message() *serving.ModelVersionStatus {
	m := &serving.ModelVersionStatus{Version: s.number, State: s.state, Status: &serving.StatusProto{ErrorCode: errorcodes.Code_OK}}
	if s.err != nil {
		m.Status = &serving.StatusProto{ErrorCode: errorcodes.Code_UNKNOWN, ErrorMessage: s.err.Error()}
	}
	return m
}

// describer is a model that knows what its file says of a function, with the
// names of the tensors in the graph. savedmodel.Model is one.
type describer interface {
	SignatureDef(name string) *pb.SignatureDef
}

// signatureDefs describes a version's functions as SavedModels do. Of a model that
// is no describer, tensors have their names in the signature.
func (v *version) signatureDefs() *serving.SignatureDefMap {
	defs := map[string]*pb.SignatureDef{}
	for _, name := range slices.Sorted(maps.Keys(v.batchers)) {
		if d, ok := v.Model.(describer); ok {
			defs[name] = d.SignatureDef(name)
			continue
		}
		sig := v.batchers[name].signature
		defs[name] = &pb.SignatureDef{Inputs: tensorInfos(sig.Inputs), Outputs: tensorInfos(sig.Outputs)}
	}
	return &serving.SignatureDefMap{SignatureDef: defs}
}

func tensorInfos(specs []tensor.Spec) map[string]*pb.TensorInfo {
	infos := make(map[string]*pb.TensorInfo, len(specs))
	for _, s := range specs {
		shape := protoShape(s.Shape) // -1 where a size is free
		shape.UnknownRank = s.AnyRank
		infos[s.Name] = &pb.TensorInfo{
			Encoding: &pb.TensorInfo_Name{Name: s.Name + ":0"}, Dtype: types_go_proto.DataType(s.DType), TensorShape: shape,
		}
	}
	return infos
}
