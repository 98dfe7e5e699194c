package plot_test

import (
	"bytes"
	"fmt"
	"image/png"

	"github.com/residual-go/residual/pipeline/plot"
)

func ExampleConfusion() {
	var picture bytes.Buffer
	matrix := [][]int{
		{90, 10}, // of 100 cats, 90 were recognised
		{20, 80},
	}
	if err := plot.Confusion(&picture, matrix, []string{"cat", "dog"}); err != nil {
		fmt.Println(err)
		return
	}
	img, err := png.Decode(&picture)
	fmt.Println(img.Bounds().Dx() > 300, err)
	// Output: true <nil>
}

func ExampleCurves() {
	run := plot.Run{Title: "resnet50 on cifar10"}
	for step := 1; step <= 100; step++ {
		run.Steps = append(run.Steps, plot.Step{Number: step, Loss: 230 / float64(99+step), Accuracy: float64(step) / 200})
	}
	run.Epochs = []plot.Epoch{{Step: 100, Train: plot.Score{Loss: 1.6, Accuracy: 0.25}, Test: &plot.Score{Loss: 1.2, Accuracy: 0.48}}}
	var picture bytes.Buffer
	fmt.Println(plot.Curves(&picture, run, plot.PNG))
	// Output: <nil>
}
