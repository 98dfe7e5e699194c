package plot

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"
)

// named makes up runs of different lengths.
func named(names ...string) []Run {
	var runs []Run
	for i, name := range names {
		run := course(100*(1+i%4), 2+i%3, true)
		run.Title = name
		runs = append(runs, run)
	}
	return runs
}

func compared(t *testing.T, runs []Run) *image.RGBA {
	t.Helper()
	return imageOf(t)(compare(runs, PNG))
}

func TestCompareDrawsEachRunInAColourOfItsOwn(t *testing.T) {
	runs := named("a", "b", "c", "d", "e", "f", "g")
	runs[4].Epochs = nil // still in its first epoch
	img := compared(t, runs)
	top := headerHeight(splitLegend(), legendOf(runs))
	for i := range runs {
		for panel, r := range map[string]image.Rectangle{
			"legend": image.Rect(0, 0, 1400, top), "loss": image.Rect(0, top, 700, img.Bounds().Dy()), "accuracy": image.Rect(700, top, 1400, img.Bounds().Dy()),
		} {
			if n := count(img, r, hues[i].(color.RGBA)); n < 20 {
				t.Errorf("run %d has %d pixels of its colour in the %s", i, n, panel)
			}
		}
	}
}

func TestCompareHasRoomForEveryLegend(t *testing.T) {
	long := strings.Repeat("a long name ", 30)
	for _, names := range [][]string{{"a"}, {"a", "b"}, {long + "1", long + "2", "c"}, strings.Fields(strings.Repeat("resnet50-20260102-030405 ", MaxRuns))} {
		runs := named(names...)
		img := compared(t, runs)
		for y := range img.Bounds().Dy() {
			if darkness(img, 0, y) > 0 || darkness(img, img.Bounds().Dx()-1, y) > 0 {
				t.Fatalf("%d runs: row %d is drawn on up to the edge", len(runs), y)
			}
		}
		if got, want := img.Bounds().Dy(), headerHeight(splitLegend(), legendOf(runs))+panelHeight; got != want {
			t.Errorf("%d runs: it is %d pixels high, want %d", len(runs), got, want)
		}
	}
}

func TestLegendShowsWhereLongNamesDiffer(t *testing.T) {
	long := strings.Repeat("a long name ", 30)
	seen := map[string]bool{}
	for _, row := range legendOf(named("x/"+long, "y/"+long, long+"/1", long+"/2")).rows {
		for _, e := range row {
			if seen[e.name] {
				t.Errorf("%q stands there twice", e.name)
			}
			seen[e.name] = true
		}
	}
}

func TestCompareWritesAPicture(t *testing.T) {
	runs := named("a", "b")
	img := picture(t, func(w io.Writer) error { return Compare(w, runs, PNG) })
	if !bytes.Equal(img.Pix, compared(t, runs).Pix) {
		t.Error("it is not what was drawn")
	}
}

func TestNoTwoRunsLookAlike(t *testing.T) {
	if pairs := len(hues) * len(shapes); pairs != MaxRuns {
		t.Errorf("there are %d pairs of a colour and a mark for %d runs", pairs, MaxRuns)
	}
	seen := map[string]bool{}
	for i := range MaxRuns {
		look := fmt.Sprintf("%v %#v", hues[i%len(hues)], shapes[i%len(shapes)])
		if seen[look] {
			t.Errorf("run %d looks as one before", i)
		}
		seen[look] = true
	}
}

func TestCompareDoesNotFlattenRunsBesideOneThatDiverges(t *testing.T) {
	for name, tt := range map[string]struct {
		highest []float64
		want    float64
	}{
		"one diverges":     {[]float64{2.3, 2.5, 1e30}, 10},
		"of two":           {[]float64{2.3, 1e6}, 10},
		"none does":        {[]float64{2.3, 2.5, 7}, 7},
		"large losses":     {[]float64{100, 120, 280}, 280},
		"all are far":      {[]float64{1e6, 1e6}, 1e6},
		"one begins low":   {[]float64{0.01, 6.9}, 6.9},
		"one has no point": {[]float64{2.3, math.NaN()}, 2.3},
	} {
		var all []lines
		for _, high := range tt.highest {
			all = append(all, lines{smoothed: finite(plotter.XYs{{X: 1, Y: high}, {X: 2, Y: 0.1}})})
		}
		_, _, _, got := plotter.XYRange(together(all))
		if got != tt.want {
			t.Errorf("%s: the axis ends at %g, want %g", name, got, tt.want)
		}
	}
	if got := together([]lines{{}, {}}); got != nil {
		t.Errorf("no lines lie between %v", got)
	}
}

func TestCompareTakesRunsThatAreNotFinite(t *testing.T) {
	compared(t, []Run{{Title: "a", Steps: []Step{{1, math.NaN(), math.Inf(1)}}}, {Title: "b", Steps: []Step{{1, 2, 0.5}}}})
}

func TestCompareRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		runs   []Run
		format Format
		want   string
	}{
		"no runs":         {nil, PNG, "no runs"},
		"a run of none":   {[]Run{course(5, 1, true), {Title: "empty"}}, PNG, `the run "empty" has no steps`},
		"too many":        {make([]Run, MaxRuns+1), PNG, "36 runs are too many"},
		"another format":  {named("a"), "gif", `no format "gif"`},
		"no format":       {named("a"), "", `no format ""`},
		"a format's case": {named("a"), "PNG", `no format "PNG"`},
	} {
		if err := Compare(io.Discard, tt.runs, tt.format); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Compare = %v, want %q", name, err, tt.want)
		}
	}
	if err := Curves(io.Discard, course(5, 1, true), "gif"); err == nil || !strings.Contains(err.Error(), `"gif"`) {
		t.Errorf("Curves as a GIF = %v", err)
	}
	w := fullWriter(500)
	if err := Compare(&w, named("a", "b"), SVG); err == nil || !strings.HasPrefix(err.Error(), "write picture: ") {
		t.Errorf("with room for 500 bytes: %v", err)
	}
}

func TestCompareDrawsTheSameEachTime(t *testing.T) {
	for _, format := range Formats {
		var first, second bytes.Buffer
		for _, w := range []*bytes.Buffer{&first, &second} {
			if err := Compare(w, named("a", "b"), format); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s differs", format)
		}
	}
}
