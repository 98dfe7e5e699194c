package tfgo

import (
	"fmt"
	"math"

	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
)

// Options says how to open a session. The zero value is fine.
type Options struct {
	// Threads is how many threads compute one operation, and how many
	// operations compute at once; 0 means one for each core. Results depend on
	// it in the last bits. The first session of a process decides for all.
	Threads int
	// Precision is that of convolutions and matrix products; variables stay
	// float32. The zero value is Float32.
	Precision Precision
	// Target is what computes.
	Target Target
	// Optimized says that the graph needs no rewriting but the fusion of
	// operations: TensorFlow's other passes copy large constants again and again.
	Optimized bool
}

func (o Options) config() ([]byte, error) {
	if o.Threads < 0 || o.Threads > math.MaxInt32 {
		return nil, fmt.Errorf("threads must be from 0 to %d, not %d", math.MaxInt32, o.Threads)
	}
	rewrite := &configpb.RewriterConfig{}
	if o.Optimized {
		rewrite.Optimizers, rewrite.MetaOptimizerIterations = []string{"remap"}, configpb.RewriterConfig_ONE
	}
	config := &configpb.ConfigProto{
		IntraOpParallelismThreads: int32(o.Threads),
		InterOpParallelismThreads: int32(o.Threads),
		AllowSoftPlacement:        true,
		GraphOptions:              &configpb.GraphOptions{RewriteOptions: rewrite},
	}
	if err := o.Target.configure(config); err != nil {
		return nil, err
	}
	if o.Target.Device != CPUDevice {
		allowTF32(o.Precision == TF32)
	}
	switch o.Precision {
	case "", Float32, TF32:
	case BFloat16:
		rewrite.AutoMixedPrecisionOnednnBfloat16 = configpb.RewriterConfig_ON
	default:
		return nil, fmt.Errorf("precision must be one of %v, not %q", Precisions, o.Precision)
	}
	return proto.Marshal(config)
}
