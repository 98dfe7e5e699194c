package frozen

import (
	"errors"
	"testing"

	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

func TestProbesAskForWhatGraphsAreMadeOf(t *testing.T) {
	type runner = func(graph []byte, fetches []string) ([]tensor.Tensor, error)
	for name, test := range map[string]struct {
		probe func(run func([]byte, []string) ([]tensor.Tensor, error)) bool
		dtype types_go_proto.DataType
	}{
		"float32":  {Fuses, float32Type},
		"bfloat16": {FusesBFloat16, bfloat16Type},
	} {
		for answer, want := range map[float32]bool{18: true, 17: false} {
			asked := types_go_proto.DataType_DT_INVALID
			var run runner = func(data []byte, fetches []string) ([]tensor.Tensor, error) {
				var def graph_go_proto.GraphDef
				if err := proto.Unmarshal(data, &def); err != nil {
					return nil, err
				}
				for _, n := range def.GetNode() {
					if n.GetOp() == products["Conv2D"].fused {
						asked = n.GetAttr()["T"].GetType()
					}
				}
				return []tensor.Tensor{tensor.Scalar(answer)}, nil
			}
			if got := test.probe(run); got != want || asked != test.dtype {
				t.Errorf("%s, answered %g: %v, want %v; it asked for a convolution of %v", name, answer, got, want, asked)
			}
		}
		if test.probe(func([]byte, []string) ([]tensor.Tensor, error) { return nil, errors.New("no kernel") }) {
			t.Errorf("%s: what fails is taken to work", name)
		}
	}
}
