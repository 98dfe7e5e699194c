package cli

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
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

// bencher times a model.
type bencher struct {
	model *savedmodel.Model
	shape imagefile.Shape
	steps int
}

// train times steps as the train loop takes them, without the waiting for data.
func (b bencher) train(ctx context.Context, batchSize int) (*speedResult, error) {
	batch, err := b.noise(batchSize)
	if err != nil {
		return nil, err
	}
	o := pipeline.Options{Epochs: 1, BatchSize: batchSize, LearningRate: 1e-6} // so that no weight runs away
	var times []time.Duration
	for step, err := range pipeline.Steps(ctx, b.model, repeated{batch, warmUp + b.steps}, o) {
		if err != nil {
			return nil, err
		}
		times = append(times, step.Duration-step.Wait)
	}
	return speed(measured(times), batchSize), nil
}

func (b bencher) predict(ctx context.Context, batchSize int) (*speedResult, error) {
	times, err := b.timePredict(ctx, batchSize)
	if err != nil {
		return nil, err
	}
	result := speed(times, batchSize)
	alone, err := b.timePredict(ctx, 1)
	if err != nil {
		return nil, err
	}
	result.Latency = &latencyResult{P50: milliseconds(percentile(alone, 50)), P99: milliseconds(percentile(alone, 99))}
	return result, nil
}

func (b bencher) timePredict(ctx context.Context, batchSize int) ([]time.Duration, error) {
	batch, err := b.noise(batchSize)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for range warmUp + b.steps {
		begun := time.Now()
		if _, err := pipeline.Predict(ctx, b.model, batch.Images); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun))
	}
	return measured(times), nil
}

// measured returns the times after the warm-up, sorted.
func measured(times []time.Duration) []time.Duration {
	return slices.Sorted(slices.Values(times[warmUp:]))
}

// noise makes a batch of random images with random labels.
func (b bencher) noise(n int) (batch dataset.Batch, err error) {
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, n*b.shape.Size())
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = random.Int64N(int64(len(b.model.Info().Metadata.Classes)))
	}
	if batch.Images, err = tensor.Of(pixels, n, b.shape.Height, b.shape.Width, b.shape.Channels); err != nil {
		return batch, err
	}
	batch.Labels, err = tensor.Of(labels, n)
	return batch, err
}

// repeated is data that gives one batch again and again.
type repeated struct {
	batch dataset.Batch
	times int
}

func (r repeated) Len() int { return r.times * r.batch.Labels.Shape()[0] }

func (r repeated) Batches(context.Context, dataset.BatchOptions) iter.Seq2[dataset.Batch, error] {
	return func(yield func(dataset.Batch, error) bool) {
		for range r.times {
			if !yield(r.batch, nil) {
				return
			}
		}
	}
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
