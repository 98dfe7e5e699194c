package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/benchmark"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/trace"
)

// benchResult is what --json prints. A GFLOP is 1e9 floating-point operations, an
// MB 1024*1024 bytes.
type benchResult struct {
	Model     string       `json:"model"`
	Precision string       `json:"precision"`
	BatchSize int          `json:"batch_size"`
	Steps     int          `json:"steps"`
	WarmUp    int          `json:"warm_up"`
	Threads   int          `json:"threads"`
	Peak      peakResult   `json:"peak"`
	Train     *speedResult `json:"train,omitempty"`
	Predict   *speedResult `json:"predict,omitempty"`

	// What the fields above are made of.
	peak           tfgo.Peak
	lowestPeak     float64 // FLOP/s at the worst of all times that it was measured
	train, predict *benchmark.Measurement
	frozen         error // why predict did not run from a frozen graph; nil if it did
	profiles       *profiles
}

// steadyPeak is the least share of the highest peak that the lowest has on a
// machine that does nothing else.
const steadyPeak = 0.85

// peakResult is what a product of matrices reaches.
type peakResult struct {
	GFLOPS float64 `json:"gflop_per_second"`
	Side   int     `json:"side"` // of the matrices
}

type speedResult struct {
	ImagesPerSecond float64    `json:"images_per_second"` // at the median step
	Quartiles       [2]float64 `json:"quartiles"`         // images a second that three quarters and a quarter of the steps reached
	Best            float64    `json:"best"`              // images a second at the fastest step
	Worst           float64    `json:"worst"`             // images a second at the slowest step
	StepMS          stepResult `json:"step_ms"`

	GFLOPPerImage *float64 `json:"gflop_per_image"`  // null where it is not known
	GFLOPS        *float64 `json:"gflop_per_second"` // at the median step
	ShareOfPeak   *float64 `json:"share_of_peak"`    // 0 to 1
	FLOPUnknown   string   `json:"flop_unknown,omitempty"`

	PeakMemoryMB     *float64       `json:"peak_memory_mb"` // of the process; null where the system does not tell
	MemorySinceStart bool           `json:"memory_since_start,omitempty"`
	Frozen           *bool          `json:"frozen,omitempty"`     // of predict: whether it ran from a frozen graph
	NotFrozen        string         `json:"not_frozen,omitempty"` // why it did not
	Latency          *latencyResult `json:"latency_ms,omitempty"`
	Profile          *profileFiles  `json:"profile,omitempty"`
}

// stepResult is how long a step takes, in milliseconds.
type stepResult struct {
	Median    float64    `json:"median"`
	Quartiles [2]float64 `json:"quartiles"`
	Best      float64    `json:"best"`
}

// latencyResult is how long one image takes, alone, in milliseconds.
type latencyResult struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Calls int     `json:"calls"`
}

func (r *benchResult) report(c *cli.Context) error {
	r.Peak = peakResult{r.peak.FLOPS / 1e9, r.peak.Side}
	if r.train != nil {
		r.Train = r.speed(r.train)
		r.Train.Profile = r.profiles.files("train")
	}
	if r.predict != nil {
		r.Predict = r.speed(r.predict)
		r.Predict.Profile = r.profiles.files("predict")
		frozen := r.frozen == nil
		if r.Predict.Frozen = &frozen; !frozen {
			r.Predict.NotFrozen = r.frozen.Error()
		}
		times := r.predict.Latency
		r.Predict.Latency = &latencyResult{milliseconds(times.Median()), milliseconds(times.Percentile(99)), len(times)}
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, r)
	}
	return printLine(c, "%s", trimEnd(r.text()))
}

func (r *benchResult) speed(m *benchmark.Measurement) *speedResult {
	low, high := m.Times.Quartiles()
	s := &speedResult{
		ImagesPerSecond: m.Rate(m.Times.Median()), Quartiles: [2]float64{m.Rate(high), m.Rate(low)},
		Best: m.Rate(m.Times.Best()), Worst: m.Rate(m.Times.Worst()),
		StepMS: stepResult{
			milliseconds(m.Times.Median()), [2]float64{milliseconds(low), milliseconds(high)}, milliseconds(m.Times.Best()),
		},
		MemorySinceStart: m.Memory.SinceStart,
	}
	if m.Memory.Bytes > 0 {
		mb := float64(m.Memory.Bytes) / (1 << 20)
		s.PeakMemoryMB = &mb
	}
	flop, err := m.FLOP()
	if err != nil {
		s.FLOPUnknown = err.Error()
		return s
	}
	gflop, gflops, share := flop/1e9, flop*s.ImagesPerSecond/1e9, flop*s.ImagesPerSecond/r.peak.FLOPS
	s.GFLOPPerImage, s.GFLOPS, s.ShareOfPeak = &gflop, &gflops, &share
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// text writes a column for each task, which fits into any terminal.
func (r *benchResult) text() string {
	head := fmt.Sprintf("%s\n%s, batch %d, %s, %s after a warm-up of %d\n\n", r.Model, r.Precision, r.BatchSize,
		formatNumber(r.Threads, "thread"), formatNumber(r.Steps, "step"), r.WarmUp)
	rows := make([][]string, len(benchRows)+1)
	rows[0] = []string{""}
	for i, row := range benchRows {
		rows[i+1] = []string{row.name}
	}
	add := func(task string, s *speedResult) {
		rows[0] = append(rows[0], task)
		for i, row := range benchRows {
			rows[i+1] = append(rows[i+1], row.cell(s))
		}
	}
	if r.Train != nil {
		add("train", r.Train)
	}
	if r.Predict != nil {
		add("predict", r.Predict)
	} else {
		rows = rows[:len(rows)-latencyRows]
	}
	return head + table(rows) + "\n" + r.notes() + r.profileText()
}

// benchRows are the lines of the table.
var benchRows = []struct {
	name string
	cell func(*speedResult) string
}{
	{"images/s, median", func(s *speedResult) string { return figure(s.ImagesPerSecond) }},
	{"  quartiles", func(s *speedResult) string { return figure(s.Quartiles[0]) + "-" + figure(s.Quartiles[1]) }},
	{"  best", func(s *speedResult) string { return figure(s.Best) }},
	{"ms a step, median", func(s *speedResult) string { return figure(s.StepMS.Median) }},
	{"GFLOP an image", func(s *speedResult) string { return optionalFigure(s.GFLOPPerImage, 1) }},
	{"GFLOP/s", func(s *speedResult) string { return optionalFigure(s.GFLOPS, 1) }},
	{"  of the peak, %", func(s *speedResult) string { return optionalFigure(s.ShareOfPeak, 100) }},
	{"peak memory, MB", func(s *speedResult) string { return optionalFigure(s.PeakMemoryMB, 1) }},
	{"one image, p50, ms", latencyCell(func(l *latencyResult) string { return figure(l.P50) })},
	{"  p99, ms", latencyCell(func(l *latencyResult) string { return figure(l.P99) })},
	{"  calls", latencyCell(func(l *latencyResult) string { return strconv.Itoa(l.Calls) })},
}

const latencyRows = 3 // the last of benchRows, which only predictions have

func latencyCell(cell func(*latencyResult) string) func(*speedResult) string {
	return func(s *speedResult) string {
		if s.Latency == nil {
			return "-"
		}
		return cell(s.Latency)
	}
}

// figure writes a measured number with three digits, or all before the point.
func figure(x float64) string {
	switch {
	case x >= 99.95:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 0.9995 || x == 0:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x >= 0.09995:
		return strconv.FormatFloat(x, 'f', 3, 64)
	default:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
}

func optionalFigure(x *float64, times float64) string {
	if x == nil {
		return "-"
	}
	return figure(times * *x)
}

// notes say what the figures go by.
func (r *benchResult) notes() string {
	const width = 60
	text := ""
	note := func(format string, values ...any) {
		for i, line := range wrap(fmt.Sprintf(format, values...), width-2) {
			if i > 0 {
				line = "  " + line
			}
			text += line + "\n"
		}
	}
	note("Peak: %s GFLOP/s, a product of two %dx%d matrices in %s.", figure(r.Peak.GFLOPS), r.Peak.Side, r.Peak.Side, r.Precision)
	if lowest := r.lowestPeak / 1e9; lowest > 0 && lowest < steadyPeak*r.Peak.GFLOPS {
		note("The machine's speed has changed meanwhile: the lowest peak was %s GFLOP/s. Let nothing else run, or take figures of one run only.", figure(lowest))
	}
	for _, task := range []struct {
		name string
		s    *speedResult
	}{{"train", r.Train}, {"predict", r.Predict}} {
		s := task.s
		if s == nil {
			continue
		}
		if s.Frozen != nil && *s.Frozen {
			note("%s ran from a frozen graph.", task.name)
		} else if s.Frozen != nil {
			note("%s ran from the graph in the file: %s.", task.name, s.NotFrozen)
		}
		if s.ShareOfPeak != nil && *s.ShareOfPeak > 1 {
			note("%s is beyond the peak: other programs computed while that was measured. Let nothing else run.", task.name)
		}
		if s.FLOPUnknown != "" {
			note("%s has no GFLOP: %s.", task.name, s.FLOPUnknown)
		}
		if s.MemorySinceStart && s.PeakMemoryMB != nil {
			note("Peak memory is since the start of the program: this system does not let it be measured anew for %s.", task.name)
		}
	}
	return text
}

const topOps = 10 // that the terminal shows; the files have all

// profileText shows where the time went, and where the files are.
func (r *benchResult) profileText() string {
	text := ""
	for _, task := range []struct {
		name string
		s    *speedResult
		m    *benchmark.Measurement
	}{{"train", r.Train, r.train}, {"predict", r.Predict, r.predict}} {
		if task.s == nil || task.s.Profile == nil {
			continue
		}
		rows := trace.ByOp(task.m.Traces...)
		text += "\n" + opTable(task.name, rows[:min(topOps, len(rows))])
		f := task.s.Profile
		text += table([][]string{{"operations", f.Ops}, {"nodes", f.Nodes}, {"timeline", f.Timeline}, {"CPU profile", f.CPU}})
	}
	return text
}

// opTable shows what the operations of a step took.
func opTable(task string, rows []trace.Row) string {
	const longestOp = 34
	lines := [][]string{{task + ", a step", "calls", "ms", "%"}}
	for _, row := range rows {
		lines = append(lines, []string{
			abbreviate(row.Op, longestOp), fmt.Sprintf("%.4g", row.Calls),
			fmt.Sprintf("%.2f", milliseconds(row.Time)), fmt.Sprintf("%.1f", 100*row.Share),
		})
	}
	return table(lines)
}
