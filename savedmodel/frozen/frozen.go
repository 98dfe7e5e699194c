// Package frozen makes graphs for prediction alone of the functions of a
// SavedModel: variables are constants, each BatchNorm is folded into the
// convolution before it, and residual sums are fused.
//
// # Basics
//
// Make returns a graph and the names of its results in it:
//
//	graph, err := frozen.Make(meta, []string{"StatefulPartitionedCall:0"}, source)
//
// The inputs keep their names.
//
// # Caveats
//
// A function with side effects, or with loops and conditions that are functions
// of their own, is refused: it must be called as it is. So is one with weights
// that are not finite: oneDNN's ReLU makes 0 of NaN.
package frozen

import (
	"fmt"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Source computes what a graph is made of.
type Source struct {
	// Variables returns the values of variables by the names of their handles.
	Variables func(names []string) (map[string]tensor.Tensor, error)
	// Run computes tensors of a graph without inputs and variables.
	Run func(graph []byte, fetches []string) ([]tensor.Tensor, error)
	// Fuse tells whether this TensorFlow has oneDNN's operations, see Fuses.
	Fuse bool
	// BFloat16 asks for products in bfloat16, which only oneDNN's are fast in.
	BFloat16 bool
}

// Graph is a function for prediction alone.
type Graph struct {
	Def     []byte   // a serialized GraphDef
	Outputs []string // the names of the results in it
	// Sized says that a session is fast only for batches such as the one that it
	// computes first: see FewImages.
	Sized bool
}

// Make returns a graph that computes the tensors named in outputs.
func Make(meta *pb.MetaGraphDef, outputs []string, source Source) (*Graph, error) {
	g, err := freeze(meta, outputs, source)
	if err != nil {
		return nil, fmt.Errorf("freeze graph: %w", err)
	}
	made := &Graph{Outputs: g.outputNames(), Sized: g.sized}
	if made.Def, err = g.marshal(); err != nil {
		return nil, fmt.Errorf("freeze graph: %w", err)
	}
	return made, nil
}

func freeze(meta *pb.MetaGraphDef, outputs []string, source Source) (*graph, error) {
	g, err := inline(meta, outputs)
	if err != nil {
		return nil, err
	}
	values, err := source.Variables(g.handles())
	if err != nil {
		return nil, err
	}
	if err := g.variables(values); err != nil {
		return nil, err
	}
	if err := g.evaluate(source.Run); err != nil {
		return nil, err
	}
	g.fold()
	if source.Fuse {
		g.fuse()
		g.small()
		g.cacheProducts()
	}
	if source.BFloat16 {
		g.bfloat16()
	}
	return g, nil
}
