package callback

import (
	"math"
	"testing"
	"time"
)

func TestFigure(t *testing.T) {
	for x, want := range map[float64]string{
		0:           "0.0000",
		1:           "1.0000",
		2.302585:    "2.3026",
		0.0005:      "0.0005",
		0.00012:     "1.20e-04",
		-2.5:        "-2.5000",
		9999:        "9999.0000",
		12345.678:   "1.23e+04",
		3.4e38:      "3.40e+38",
		math.Inf(1): "+Inf",
	} {
		if got := figure(x); got != want {
			t.Errorf("figure(%g) = %q, want %q", x, got, want)
		}
	}
	if got := figure(math.NaN()); got != "NaN" {
		t.Errorf("figure(NaN) = %q", got)
	}
}

func TestSpeed(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0", 0.5: "0.5", 41.23: "41.2", 99.94: "99.9", 99.96: "100", 1234.5: "1234"} {
		if got := speed(x); got != want {
			t.Errorf("speed(%g) = %q, want %q", x, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                   "0s",
		499 * time.Millisecond:              "0s",
		59*time.Second + 499e6:              "59s",
		59*time.Second + 500e6:              "1m00s",
		83 * time.Second:                    "1m23s",
		time.Hour - time.Second:             "59m59s",
		time.Hour:                           "1h00m",
		2*time.Hour + 5*time.Minute + 59e9:  "2h05m",
		24*time.Hour - time.Second:          "23h59m",
		76 * time.Hour:                      "3d04h",
		1000*24*time.Hour + 90*time.Minute:  "1000d01h",
		time.Duration(-1) * time.Nanosecond: "0s",
	} {
		if got := clock(d); got != want {
			t.Errorf("clock(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		batch, batches int
		want           string
	}{
		{0, 10, "          "},
		{1, 1000, ">         "},
		{1, 10, "=>        "},
		{5, 10, "=====>    "},
		{9, 10, "=========>"},
		{999, 1000, "=========>"}, // full only when all is done
		{10, 10, "=========="},
		{11, 10, "=========="}, // more than was said
		{0, 0, "          "},
		{math.MaxInt32 - 1, math.MaxInt32, "=========>"},
	} {
		if got := (pass{batch: tt.batch, batches: tt.batches}).bar(10); got != tt.want {
			t.Errorf("bar of %d/%d = %q, want %q", tt.batch, tt.batches, got, tt.want)
		}
	}
}

func TestLiveShowsLessInLessSpace(t *testing.T) {
	known := &pace{}
	known.add(64, time.Second)
	p := pass{title: "Epoch 1/3", short: "1/3", batch: 123, batches: 782, mean: metrics(2.1034, 64), pace: known}
	for _, tt := range []struct {
		width int
		want  string
	}{
		{200, "Epoch 1/3 [======>                                 ] 123/782  loss 2.1034  accuracy 0.1844  64.0 images/s  10m59s left"},
		{90, "Epoch 1/3 [=>          ] 123/782  loss 2.1034  accuracy 0.1844  64.0 images/s  10m59s left"},
		{89, "Epoch 1/3 [==>                ] 123/782  loss 2.1034  acc 0.1844  64.0 img/s  10m59s left"},
		{77, "Epoch 1/3 [=>     ] 123/782  loss 2.1034  acc 0.1844  64.0 img/s  10m59s left"},
		{72, "1/3 [=>      ] 123/782  loss 2.1034  acc 0.1844  64.0 img/s  10m59s left"},
		{60, "1/3 [=>      ] 123/782  loss 2.1034  acc 0.1844  10m59s left"},
		{50, "1/3 [=>        ] 123/782  loss 2.1034  10m59s left"},
		{40, "1/3 [==>          ] 123/782  loss 2.1034"},
		{30, "1/3 [==>             ] 123/782"},
		{15, "1/3 123/782"},
		{6, "1/3 12"},
		{1, "1"},
	} {
		if got := p.live(tt.width); got != tt.want {
			t.Errorf("in %d columns:\n%q, want\n%q", tt.width, got, tt.want)
		}
	}
}

func TestPaceForgetsASlowFirstStep(t *testing.T) {
	var p pace
	p.add(64, 20*time.Second) // TensorFlow prepares the graph
	for range 50 {
		p.add(64, time.Second)
	}
	if rate := p.rate(); rate < 60 || rate > 64 {
		t.Errorf("rate after 50 quick steps = %.1f, want nearly 64", rate)
	}
}

func TestPaceIsSmooth(t *testing.T) {
	var p pace
	for i := range 100 {
		p.add(64, time.Duration(50+100*(i%2))*time.Millisecond)
	}
	before := p.rate()
	p.add(64, 300*time.Millisecond)
	if change := math.Abs(p.rate()-before) / before; change > 0.05 {
		t.Errorf("one slow step changed the rate by %.0f %%", 100*change)
	}
	if left := p.left(10); left < 900*time.Millisecond || left > 1200*time.Millisecond {
		t.Errorf("ten batches of a tenth of a second take %v", left)
	}
}

func TestPaceKnowsNothingAtFirst(t *testing.T) {
	var p pace
	if p.rate() != 0 || p.left(10) != 0 {
		t.Errorf("rate %g, left %v", p.rate(), p.left(10))
	}
	p.add(64, 0) // a clock too coarse
	if p.rate() != 0 || p.left(10) != 0 {
		t.Errorf("rate %g, left %v after a step that took no time", p.rate(), p.left(10))
	}
}
