package plot

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/plotter"
)

func xys(n int, y func(i int) float64) plotter.XYs {
	line := make(plotter.XYs, n)
	for i := range line {
		line[i] = plotter.XY{X: float64(i), Y: y(i)}
	}
	return line
}

func TestThinKeepsShortLines(t *testing.T) {
	line := xys(2*maxBuckets, func(i int) float64 { return float64(i % 7) })
	if diff := cmp.Diff(line, thin(line)); diff != "" {
		t.Error(diff)
	}
}

func TestThinKeepsTheExtremesOfLongLines(t *testing.T) {
	for _, n := range []int{2*maxBuckets + 1, 100_000} {
		line := xys(n, func(i int) float64 { return math.Sin(float64(i)) })
		line[n/3].Y, line[n/2].Y = 1000, -1000
		thinned := thin(line)
		if len(thinned) > 2*maxBuckets {
			t.Errorf("%d points of %d are left", len(thinned), n)
		}
		found := 0
		for i, p := range thinned {
			if math.Abs(p.Y) == 1000 {
				found++
			}
			if i > 0 && p.X <= thinned[i-1].X {
				t.Fatalf("point %d goes back from %g to %g", i, thinned[i-1].X, p.X)
			}
		}
		if found != 2 {
			t.Errorf("%d of 2 extremes are left of %d points", found, n)
		}
	}
}

func TestSmooth(t *testing.T) {
	for name, tt := range map[string]struct {
		line plotter.XYs
		want func(x float64) float64
		near float64
	}{
		"one point":         {xys(1, func(int) float64 { return 5 }), func(float64) float64 { return 5 }, 0},
		"a constant":        {xys(1000, func(int) float64 { return 5 }), func(float64) float64 { return 5 }, 1e-9},
		"a slope":           {xys(1000, func(i int) float64 { return float64(i) }), func(x float64) float64 { return x }, 20},
		"a zigzag":          {xys(1000, func(i int) float64 { return float64(i % 2) }), func(float64) float64 { return 0.5 }, 0.05},
		"a single odd step": {xys(1000, func(i int) float64 { return float64(i/500*(1000-i)/500) * 1e6 }), func(float64) float64 { return 0 }, 10e6},
	} {
		smoothed := smooth(tt.line)
		if len(smoothed) > maxBuckets || len(smoothed) > len(tt.line) {
			t.Errorf("%s: %d points", name, len(smoothed))
		}
		if first, last := smoothed[0].X, smoothed[len(smoothed)-1].X; first != 0 || last != float64(len(tt.line)-1) {
			t.Errorf("%s: goes from %g to %g", name, first, last)
		}
		for _, p := range smoothed {
			if math.Abs(p.Y-tt.want(p.X)) > tt.near {
				t.Errorf("%s: at %g it is %g, want %g", name, p.X, p.Y, tt.want(p.X))
				break
			}
		}
	}
	if got := smooth(nil); got != nil {
		t.Errorf("smooth(nil) = %v", got)
	}
}

func TestSmoothIgnoresASingleOddStep(t *testing.T) {
	for _, n := range []int{50, 1000} {
		line := xys(n, func(int) float64 { return 1 })
		line[n/2].Y = 1e9
		for _, p := range smooth(line) {
			if p.Y > 1.001 {
				t.Fatalf("of %d steps, step %g is %g", n, p.X, p.Y)
			}
		}
	}
}

func TestUsualLeavesOutTheOddestHundredth(t *testing.T) {
	for _, tt := range []struct {
		points    int
		low, high float64
	}{{1, 0, 0}, {2, 0, 1}, {49, 0, 48}, {50, 1, 48}, {100, 1, 98}, {1000, 10, 989}} {
		low, high := usual(xys(tt.points, func(i int) float64 { return float64(i) }))
		if low != tt.low || high != tt.high {
			t.Errorf("usual of %d points = %g, %g; want %g, %g", tt.points, low, high, tt.low, tt.high)
		}
	}
}

func TestPiecesJoin(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 10, 11, 12} {
		line := xys(n, func(i int) float64 { return float64(i) })
		var joined plotter.XYs
		for piece := range pieces(line, 4) {
			if len(piece) < 2 || len(piece) > 4 {
				t.Errorf("%d points: a piece of %d", n, len(piece))
			}
			if len(joined) > 0 && joined[len(joined)-1] != piece[0] {
				t.Errorf("%d points: a gap before %v", n, piece[0])
			}
			joined = append(joined[:max(0, len(joined)-1)], piece...)
		}
		if n > 1 && cmp.Diff(line, joined) != "" {
			t.Errorf("%d points become %v", n, joined)
		}
	}
}

func TestTicksOfHugeNumbersEnd(t *testing.T) {
	if marks := ticks(1<<63, 1<<63, 1); len(marks) > 2*maxTicks {
		t.Errorf("%d marks", len(marks))
	}
}

func TestTicks(t *testing.T) {
	for name, tt := range map[string]struct {
		low, high, smallest float64
		want                []string
	}{
		"losses":             {0, 2.41, 0, []string{"0.0", "0.5", "1.0", "1.5", "2.0"}},
		"losses near others": {2.29, 2.31, 0, []string{"2.290", "2.295", "2.300", "2.305", "2.310"}},
		"large losses":       {0, 14.9, 0, []string{"0", "5", "10"}},
		"tiny losses":        {0, 2.5e-12, 0, []string{"0", "5e-13", "1e-12", "1.5e-12", "2e-12", "2.5e-12"}},
		"huge losses":        {0, 3e30, 0, []string{"0", "5e+29", "1e+30", "1.5e+30", "2e+30", "2.5e+30", "3e+30"}},
		"around nothing":     {-0.31, 0.31, 0, []string{"-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"}},
		"just below nothing": {-0.01, 0.31, 0, []string{"0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"}},
		"far below nothing":  {-3000, -1000, 0, []string{"-3,000", "-2,500", "-2,000", "-1,500", "-1,000"}},
		"ten steps":          {1, 10, 1, []string{"2", "4", "6", "8", "10"}},
		"three steps":        {1, 3, 1, []string{"1", "2", "3"}},
		"one step":           {0, 2, 1, []string{"0", "1", "2"}},
		"many steps":         {1, 100_000, 1, []string{"20,000", "40,000", "60,000", "80,000", "100,000"}},
	} {
		var got []string
		for _, tick := range ticks(tt.low, tt.high, tt.smallest) {
			if tick.Value < tt.low || tick.Value > tt.high {
				t.Errorf("%s: %g lies outside", name, tick.Value)
			}
			got = append(got, tick.Label)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 26215818: "26,215,818", -1: "-1", -100: "-100", -1000: "-1,000"} {
		if got := group(n); got != want {
			t.Errorf("group(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	p := newPage(1, 1)
	for _, text := range []string{"", "cat", "automobile", "Straßenbahnhaltestelle", "日本語日本語日本語"} {
		for _, width := range []int{0, 10, 30, 60, 1000} {
			got := p.shorten(text, 16, width)
			if width >= 30 && p.width(got, 16) > width {
				t.Errorf("shorten(%q, %d) = %q, %d pixels wide", text, width, got, p.width(got, 16))
			}
			if p.width(text, 16) <= width && got != text {
				t.Errorf("shorten(%q, %d) = %q", text, width, got)
			}
		}
	}
}
