// Command worker trains on drawn images or predicts, some steps each time it is
// told to, so that bench.py can measure Go and others in turns.
//
//	worker -model DIR [-task predict] [-batch-size 16] [-precision float32] [-plain]
//
// It reads lines with a number of steps and answers each with the seconds they
// took. The answer to "check" is the probabilities that it has for the images
// in the file -images, as JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

func main() {
	var (
		dir       = flag.String("model", "", "")
		task      = flag.String("task", "train", "train or predict")
		batchSize = flag.Int("batch-size", 16, "")
		precision = flag.String("precision", "float32", "")
		plain     = flag.Bool("plain", false, "predict by the graph as it was exported")
		images    = flag.String("images", "", "a file of pixels, uint8 [N,H,W,C]")
	)
	flag.Parse()
	if err := work(*dir, *task, *batchSize, *images, savedmodel.Options{Precision: tfgo.Precision(*precision), Plain: *plain}); err != nil {
		log.Fatal(err)
	}
}

func work(dir, task string, batchSize int, images string, o savedmodel.Options) error {
	ctx := context.Background()
	o.Signatures = []string{map[string]string{"train": pipeline.TrainSignature, "predict": pipeline.PredictSignature}[task]}
	model, err := savedmodel.Open(dir, o)
	if err != nil {
		return err
	}
	defer model.Close()
	step := func() error { return predict(ctx, model, images, batchSize, nil) }
	if task == "train" {
		next, stop, err := train(ctx, model, batchSize)
		if err != nil {
			return err
		}
		defer stop()
		step = next
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if orders.Text() == "check" {
			var rows [][]float32
			if err := predict(ctx, model, images, batchSize, &rows); err != nil {
				return err
			}
			if err := json.NewEncoder(os.Stdout).Encode(rows); err != nil {
				return err
			}
			continue
		}
		steps, err := strconv.Atoi(orders.Text())
		if err != nil {
			return err
		}
		begun := time.Now()
		for range steps {
			if err := step(); err != nil {
				return err
			}
		}
		fmt.Println(time.Since(begun).Seconds())
	}
	return orders.Err()
}

// train returns a function that takes a step of a run.
func train(ctx context.Context, model *savedmodel.Model, batchSize int) (step func() error, stop func(), err error) {
	m := model.Info().Metadata
	data, err := dataset.Open(ctx, dataset.Synthetic, dataset.Options{Classes: m.Classes, Shape: imagefile.Shape(m.Image)})
	if err != nil {
		return nil, nil, err
	}
	next, stop := iter.Pull2(pipeline.Steps(ctx, model, data.Train, pipeline.Options{Epochs: 1000, BatchSize: batchSize}))
	return func() error {
		_, err, _ := next()
		return err
	}, stop, nil
}

// predict asks about the first images of a file.
func predict(ctx context.Context, model *savedmodel.Model, file string, batchSize int, rows *[][]float32) error {
	pixels, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	shape := imagefile.Shape(model.Info().Metadata.Image)
	if len(pixels) < batchSize*shape.Size() {
		return errors.New("there are too few images in " + file)
	}
	images, err := tensor.Of(pixels[:batchSize*shape.Size()], batchSize, shape.Height, shape.Width, shape.Channels)
	if err != nil {
		return err
	}
	found, err := pipeline.Predict(ctx, model, images)
	if err == nil && rows != nil {
		*rows = found
	}
	return err
}
