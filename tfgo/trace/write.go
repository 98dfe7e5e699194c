package trace

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WriteOps writes the rows of ByOp as CSV: op, calls and milliseconds in a run,
// share of the time of all operations (0 to 1), GFLOP in a run, GFLOP a second
// of the operation's own time.
func WriteOps(w io.Writer, rows []Row) error {
	records := [][]string{{"op", "calls", "ms", "share", "gflop", "gflop_per_second"}}
	for _, row := range rows {
		records = append(records, append([]string{row.Op}, row.figures()...))
	}
	return csv.NewWriter(w).WriteAll(records)
}

// WriteNodes writes the rows of ByNode: the node, its first result's shape such
// as 16x7x7x2048, and the columns of WriteOps.
func WriteNodes(w io.Writer, rows []Row) error {
	records := [][]string{{"node", "op", "output", "calls", "ms", "share", "gflop", "gflop_per_second"}}
	for _, row := range rows {
		records = append(records, append([]string{row.Name, row.Op, sizes(row.Output)}, row.figures()...))
	}
	return csv.NewWriter(w).WriteAll(records)
}

func (r Row) figures() []string {
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	return []string{
		number(r.Calls), number(float64(r.Time) / float64(time.Millisecond)), number(r.Share), number(r.FLOP / 1e9), number(r.FLOPS() / 1e9),
	}
}

func sizes(shape []int) string {
	texts := make([]string, len(shape))
	for i, dim := range shape {
		texts[i] = strconv.Itoa(dim)
	}
	return strings.Join(texts, "x")
}

// event is an entry of Chrome's trace format; times are microseconds.
type event struct {
	Name     string         `json:"name"`
	Phase    string         `json:"ph"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Start    float64        `json:"ts"`
	Duration float64        `json:"dur,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// WriteTimeline writes a run as chrome://tracing and ui.perfetto.dev read it: a
// process for each device, and as many lines in it as operations ran at once.
func WriteTimeline(w io.Writer, ops []Op) error {
	sorted := slices.Clone(ops)
	slices.SortStableFunc(sorted, func(a, b Op) int { return a.Start.Compare(b.Start) })
	events := []event{}
	devices := map[string]int{}
	free := map[int][]time.Time{} // by device: when each of its lines is
	for _, op := range sorted {
		process, ok := devices[op.Device]
		if !ok {
			process = len(devices)
			devices[op.Device] = process
			events = append(events, event{Name: "process_name", Phase: "M", Process: process, Args: map[string]any{"name": op.Device}})
		}
		end := op.Start.Add(op.Duration)
		line := slices.IndexFunc(free[process], func(t time.Time) bool { return !t.After(op.Start) })
		if line < 0 {
			line = len(free[process])
			free[process] = append(free[process], end)
		}
		free[process][line] = end
		args := map[string]any{"node": op.Name}
		for i, shape := range op.Inputs {
			args[fmt.Sprint("input ", i)] = sizes(shape)
		}
		for i, shape := range op.Outputs {
			args[fmt.Sprint("output ", i)] = sizes(shape)
		}
		events = append(events, event{
			Name: op.Op, Phase: "X", Process: process, Thread: line, Args: args,
			Start:    float64(op.Start.Sub(sorted[0].Start)) / float64(time.Microsecond),
			Duration: float64(op.Duration) / float64(time.Microsecond),
		})
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}
