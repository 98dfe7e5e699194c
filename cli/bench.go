package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure a model's speed on generated images",
		UsageText: "residual bench --model models/resnet50 --train --predict",
		Flags: []cli.Flag{
			modelFlag,
			&cli.BoolFlag{Name: "train", Usage: "measure training steps"},
			&cli.BoolFlag{Name: "predict", Usage: "measure predictions, and the latency of one image"},
			&cli.IntFlag{Name: batchSizeFlag.Name, Usage: batchSizeFlag.Usage, Value: 16},
			&cli.IntFlag{Name: stepsName, Usage: "measure `N` steps, after a warm-up of 3", Value: 10},
			precisionFlag, threadsFlag, quietFlag, jsonFlag,
		},
		Action: bench,
	}
}

const stepsName = "steps"

const warmUp = 3 // steps: the first ones plan the graph and fill caches

// benchResult is what --json prints.
type benchResult struct {
	Model     string       `json:"model"`
	Precision string       `json:"precision"`
	BatchSize int          `json:"batch_size"`
	Steps     int          `json:"steps"`
	Train     *speedResult `json:"train,omitempty"`
	Predict   *speedResult `json:"predict,omitempty"`
}

type speedResult struct {
	ImagesPerSecond float64        `json:"images_per_second"` // at the median step
	Best            float64        `json:"best"`              // images a second at the fastest step
	Worst           float64        `json:"worst"`             // images a second at the slowest step
	Latency         *latencyResult `json:"latency_ms,omitempty"`
}

// latencyResult is how long one image takes, alone, in milliseconds.
type latencyResult struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func bench(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if !c.Bool("train") && !c.Bool("predict") {
		return usagef(c, "nothing to measure: give --train, --predict or both")
	}
	if err := positive(c, batchSizeFlag.Name, stepsName); err != nil {
		return err
	}
	var signatures []string
	if c.Bool("train") {
		signatures = append(signatures, pipeline.TrainSignature)
	}
	if c.Bool("predict") {
		signatures = append(signatures, pipeline.PredictSignature)
	}
	info, session, err := inspectModel(c, signatures...)
	if err != nil {
		return err
	}
	shape, err := imageShape(info)
	if err != nil {
		return err
	}
	model, err := savedmodel.Open(info.Dir, session)
	if err != nil {
		return err
	}
	defer model.Close()
	result := benchResult{
		Model: info.Dir, Precision: string(session.Precision),
		BatchSize: c.Int(batchSizeFlag.Name), Steps: c.Int(stepsName),
	}
	b := bencher{model: model, shape: shape, steps: result.Steps}
	if c.Bool("predict") { // first, while the weights are those of the file
		if result.Predict, err = b.predict(c.Context, result.BatchSize); err != nil {
			return err
		}
	}
	if c.Bool("train") {
		if result.Train, err = b.train(c.Context, result.BatchSize); err != nil {
			return err
		}
	}
	return reportBench(c, result)
}

// bencher times calls of a model.
type bencher struct {
	model *savedmodel.Model
	shape imagefile.Shape
	steps int
}

func (b bencher) train(ctx context.Context, batch int) (*speedResult, error) {
	images, labels, err := b.noise(batch)
	if err != nil {
		return nil, err
	}
	inputs := map[string]tensor.Tensor{
		"images": images, "labels": labels,
		"learning_rate": tensor.Scalar(float32(1e-6)), // so that no weight runs away
	}
	if s, _ := b.model.Signature(pipeline.TrainSignature); len(s.Inputs) > len(inputs) {
		inputs["seed"], err = tensor.Of([]int64{0, 0}, 2)
		if err != nil {
			return nil, err
		}
	}
	times, err := b.time(ctx, pipeline.TrainSignature, inputs)
	if err != nil {
		return nil, err
	}
	return speed(times, batch), nil
}

func (b bencher) predict(ctx context.Context, batch int) (*speedResult, error) {
	times, err := b.timePredict(ctx, batch)
	if err != nil {
		return nil, err
	}
	result := speed(times, batch)
	alone, err := b.timePredict(ctx, 1)
	if err != nil {
		return nil, err
	}
	result.Latency = &latencyResult{P50: milliseconds(percentile(alone, 50)), P99: milliseconds(percentile(alone, 99))}
	return result, nil
}

func (b bencher) timePredict(ctx context.Context, batch int) ([]time.Duration, error) {
	images, _, err := b.noise(batch)
	if err != nil {
		return nil, err
	}
	return b.time(ctx, pipeline.PredictSignature, map[string]tensor.Tensor{"images": images})
}

// time returns the durations of b.steps calls, sorted, after a warm-up.
func (b bencher) time(ctx context.Context, signature string, inputs map[string]tensor.Tensor) ([]time.Duration, error) {
	times := make([]time.Duration, 0, b.steps)
	for i := range warmUp + b.steps {
		begun := time.Now()
		if _, err := b.model.Call(ctx, signature, inputs); err != nil {
			return nil, err
		}
		if i >= warmUp {
			times = append(times, time.Since(begun))
		}
	}
	slices.Sort(times)
	return times, nil
}

// noise makes a batch of random images with random labels.
func (b bencher) noise(n int) (images, labels tensor.Tensor, err error) {
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, n*b.shape.Size())
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	numbers := make([]int64, n)
	for i := range numbers {
		numbers[i] = random.Int64N(int64(len(b.model.Info().Metadata.Classes)))
	}
	if images, err = tensor.Of(pixels, n, b.shape.Height, b.shape.Width, b.shape.Channels); err != nil {
		return
	}
	labels, err = tensor.Of(numbers, n)
	return
}

// speed turns sorted times into images a second.
func speed(times []time.Duration, batch int) *speedResult {
	rate := func(d time.Duration) float64 { return float64(batch) / d.Seconds() }
	return &speedResult{
		ImagesPerSecond: rate(percentile(times, 50)),
		Best:            rate(times[0]),
		Worst:           rate(times[len(times)-1]),
	}
}

// percentile picks from sorted times by nearest rank.
func percentile(sorted []time.Duration, percent int) time.Duration {
	rank := (percent*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func reportBench(c *cli.Context, r benchResult) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, r)
	}
	rows := [][]string{{fmt.Sprintf("batch %d, %s", r.BatchSize, r.Precision), "images/s", "best", "worst", "one image, p50", "p99"}}
	add := func(name string, s *speedResult) {
		if s == nil {
			return
		}
		row := []string{name, fmt.Sprintf("%.1f", s.ImagesPerSecond), fmt.Sprintf("%.1f", s.Best), fmt.Sprintf("%.1f", s.Worst)}
		if s.Latency != nil {
			row = append(row, fmt.Sprintf("%.1f ms", s.Latency.P50), fmt.Sprintf("%.1f ms", s.Latency.P99))
		}
		rows = append(rows, row)
	}
	add("train", r.Train)
	add("predict", r.Predict)
	return printLine(c, "%s", trimEnd(table(rows)))
}
