package cli

import (
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/benchmark"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure a model's speed on generated images",
		UsageText: "residual bench --model models/resnet50 --train --predict",
		Flags: slices.Concat([]cli.Flag{
			modelFlag,
			&cli.BoolFlag{Name: "train", Usage: "measure training steps"},
			&cli.BoolFlag{Name: "predict", Usage: "measure predictions, and the latency of one image"},
			&cli.IntFlag{Name: batchSizeFlag.Name, Usage: batchSizeFlag.Usage, Value: 16},
			&cli.IntFlag{Name: stepsName, Usage: "measure `N` steps, after a warm-up of 3", Value: 10},
			&cli.StringFlag{Name: profileName, Usage: "also write what each operation took, a timeline and a CPU profile into `DIR`"},
		}, sessionFlags(), []cli.Flag{debugFlag, quietFlag, jsonFlag}),
		Action: bench,
	}
}

const (
	stepsName   = "steps"
	profileName = "profile"
)

// peakTime is how long the hardware's peak is measured for, before the model and
// after each task: what shares the machine may come and go.
const peakTime = 300 * time.Millisecond

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
	if c.IsSet(profileName) && c.String(profileName) == "" {
		return usagef(c, "--%s needs a directory", profileName)
	}
	profiles, err := openProfiles(c.String(profileName))
	if err != nil {
		return err
	}
	model, err := openModel(c, info, session)
	if err != nil {
		return err
	}
	defer model.Close()
	b := bencher{
		model: model,
		bench: benchmark.Bench{
			Model: model, Shape: shape, Classes: len(info.Metadata.Classes),
			BatchSize: c.Int(batchSizeFlag.Name), Steps: c.Int(stepsName), Traces: profiles.traces(),
		},
		result: benchResult{
			Model: info.Dir, Precision: string(computedIn(info, session)), BatchSize: c.Int(batchSizeFlag.Name),
			Steps: c.Int(stepsName), WarmUp: benchmark.WarmUp, Threads: c.Int(threadsFlag.Name), profiles: profiles,
		},
	}
	if b.result.Threads == 0 {
		b.result.Threads = runtime.NumCPU()
	}
	if err := b.run(c, session); err != nil {
		return err
	}
	return b.result.report(c)
}

// computedIn is what the model's layers compute in: their own precision, or what
// --precision makes of float32.
func computedIn(info *savedmodel.Info, session savedmodel.Options) tfgo.Precision {
	if own := tfgo.Precision(info.Metadata.Precision); own != "" && own != tfgo.Float32 {
		return own
	}
	return session.Precision
}

// bencher measures a model.
type bencher struct {
	model  *savedmodel.Model
	bench  benchmark.Bench
	result benchResult
}

// run measures what was asked for.
func (b *bencher) run(c *cli.Context, session savedmodel.Options) error {
	m := newMeter(c)
	defer m.Close()
	b.bench.OnStep = func(doing string, done, total int) {
		m.show(dataset.Progress{Doing: doing, Done: int64(done), Total: int64(total), Unit: "steps"})
	}
	if err := b.measurePeak(c, session); err != nil {
		return err
	}
	for _, task := range []struct {
		name    string
		measure func(*cli.Context) error
	}{{"predict", b.predict}, {"train", b.train}} { // predict while the weights are those of the file
		if !c.Bool(task.name) {
			continue
		}
		if err := task.measure(c); err != nil {
			return err
		}
		if err := b.measurePeak(c, session); err != nil {
			return err
		}
	}
	return nil
}

// measurePeak keeps the best and the worst one of several.
func (b *bencher) measurePeak(c *cli.Context, session savedmodel.Options) error {
	peak, err := tfgo.MeasurePeak(c.Context, tfgo.Options{Threads: session.Threads, Precision: computedIn(b.model.Info(), session), Target: session.Target}, peakTime)
	if err != nil {
		return err
	}
	if peak.FLOPS > b.result.peak.FLOPS {
		b.result.peak = peak
	}
	if b.result.lowestPeak == 0 || peak.FLOPS < b.result.lowestPeak {
		b.result.lowestPeak = peak.FLOPS
	}
	return nil
}

func (b *bencher) predict(c *cli.Context) error {
	profile, err := b.result.profiles.open("predict")
	if err != nil {
		return err
	}
	b.bench.CPUProfile = profile.cpuProfile()
	m, err := b.bench.Predict(c.Context)
	if err == nil {
		b.result.predict, b.result.frozen = m, b.model.Frozen(pipeline.PredictSignature)
	}
	return profile.close(m, err)
}

func (b *bencher) train(c *cli.Context) error {
	profile, err := b.result.profiles.open("train")
	if err != nil {
		return err
	}
	b.bench.CPUProfile = profile.cpuProfile()
	m, err := b.bench.Train(c.Context)
	b.result.train = m
	return profile.close(m, err)
}
