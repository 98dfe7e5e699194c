package pipeline_test

import (
	"math"
	"testing"

	"github.com/residual-go/residual/pipeline"
)

func TestSchedules(t *testing.T) {
	for _, test := range []struct {
		name     string
		schedule pipeline.Schedule
		want     []float64 // of 4 steps
	}{
		{"cosine", pipeline.Cosine(), []float64{1, (1 + math.Sqrt2/2) / 2, 0.5, (1 - math.Sqrt2/2) / 2}},
		{"linear", pipeline.Linear(), []float64{1, 0.75, 0.5, 0.25}},
		{"warmup", pipeline.Warmup(3), []float64{1. / 3, 2. / 3, 1, 1}},
		{"no warmup", pipeline.Warmup(0), []float64{1, 1, 1, 1}},
	} {
		for i, want := range test.want {
			if got := test.schedule.Factor(i+1, 4); math.Abs(got-want) > 1e-15 {
				t.Errorf("%s: step %d has %g, want %g", test.name, i+1, got, want)
			}
		}
	}
}
