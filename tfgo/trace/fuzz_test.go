package trace_test

import (
	"io"
	"testing"

	configpb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/tfgo/trace"
)

// FuzzRead looks for what a run could tell that cannot be read, counted or written.
func FuzzRead(f *testing.F) {
	for _, seed := range []*configpb.RunMetadata{metadata(), {}} {
		data, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m configpb.RunMetadata
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		ops := trace.Read(&m)
		if flop, err := trace.FLOP(ops); err != nil && flop != 0 || flop < 0 {
			t.Errorf("FLOP = %g, %v", flop, err)
		}
		rows := trace.ByNode(ops, ops)
		if len(rows) > len(ops) {
			t.Errorf("%d rows of %d operations", len(rows), len(ops))
		}
		if err := trace.WriteNodes(io.Discard, rows); err != nil {
			t.Error(err)
		}
		if err := trace.WriteTimeline(io.Discard, ops); err != nil {
			t.Error(err)
		}
	})
}
