// Package trace says what the operations of a run took and what they computed.
//
// # Basics
//
// tfgo.Session.Profile returns a run's operations. ByOp and ByNode add them up,
// FLOP counts the arithmetic, and WriteOps, WriteNodes and WriteTimeline write
// them for spreadsheets and for chrome://tracing:
//
//	ops, err := session.Profile(ctx, feeds, fetches)
//	for _, row := range trace.ByOp(ops) {
//		fmt.Println(row.Op, row.Calls, row.Time)
//	}
//
// # Caveats
//
// The operations are those that TensorFlow ran, after it has rewritten the graph.
// Several run at once: their times add up to more than the run took.
package trace

import (
	"strings"
	"time"
)

// Op is one operation of a run.
type Op struct {
	Name     string // of the node in the graph that was run, which TensorFlow has rewritten
	Op       string // such as _FusedConv2D
	Device   string
	Start    time.Time
	Duration time.Duration

	// Inputs and Outputs are the shapes of its tensors; nil where one is not known.
	Inputs, Outputs [][]int
	Equation        string // of an Einsum
}

// isKernel tells whether an operation is one of the graph's, and not what a GPU
// noted of the same one in a stream of its own.
func (o Op) isKernel() bool {
	return !strings.Contains(o.Device, "/stream") && !strings.Contains(o.Device, "memcpy")
}
