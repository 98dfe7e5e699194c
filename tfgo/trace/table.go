package trace

import (
	"cmp"
	"slices"
	"time"
)

// Row is what some operations of a run came to, a mean over several runs.
type Row struct {
	Name   string // of the node; "" where a row is for all of an operation
	Op     string
	Calls  float64       // in a run
	Time   time.Duration // of all calls in a run
	Share  float64       // of the time of all operations
	FLOP   float64       // in a run; 0 also where it is not known
	Output []int         // shape of a node's first result; nil where it is not known
}

// FLOPS is the floating-point operations a second.
func (r Row) FLOPS() float64 {
	if r.Time <= 0 {
		return 0
	}
	return r.FLOP / r.Time.Seconds()
}

// ByOp adds up the operations of the same name, such as all Conv2D. The one that
// took longest comes first.
func ByOp(runs ...[]Op) []Row {
	return add(runs, func(o Op) Row { return Row{Op: o.Op} })
}

// ByNode adds up what each node of the graph took.
func ByNode(runs ...[]Op) []Row {
	return add(runs, func(o Op) Row { return Row{Name: o.Name, Op: o.Op, Output: o.output(0)} })
}

func add(runs [][]Op, rowOf func(Op) Row) []Row {
	type key struct{ name, op string }
	index := map[key]int{}
	var rows []Row
	var total time.Duration
	for _, ops := range runs {
		for _, op := range ops {
			row := rowOf(op)
			i, ok := index[key{row.Name, row.Op}]
			if !ok {
				i = len(rows)
				index[key{row.Name, row.Op}] = i
				rows = append(rows, row)
			}
			flop, _ := op.FLOP()
			rows[i].Calls++
			rows[i].Time += op.Duration
			rows[i].FLOP += flop
			total += op.Duration
		}
	}
	n := len(runs)
	for i := range rows {
		if total > 0 {
			rows[i].Share = float64(rows[i].Time) / float64(total)
		}
		rows[i].Calls /= float64(n)
		rows[i].Time /= time.Duration(n)
		rows[i].FLOP /= float64(n)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(b.Time, a.Time) })
	return rows
}
