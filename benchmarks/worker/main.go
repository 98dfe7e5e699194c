// Command worker trains on drawn images, some steps each time it is told to, so
// that train_step.py can measure Go and others in turns.
//
//	worker MODEL BATCH_SIZE
//
// It reads lines with a number of steps and answers each with the seconds they
// took.
package main

import (
	"bufio"
	"context"
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
)

func main() {
	if err := work(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func work(dir, batchSize string) error {
	size, err := strconv.Atoi(batchSize)
	if err != nil {
		return err
	}
	ctx := context.Background()
	model, err := savedmodel.Open(dir, savedmodel.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	m := model.Info().Metadata
	data, err := dataset.Open(ctx, dataset.Synthetic, dataset.Options{Classes: m.Classes, Shape: imagefile.Shape(m.Image)})
	if err != nil {
		return err
	}
	next, stop := iter.Pull2(pipeline.Steps(ctx, model, data.Train, pipeline.Options{Epochs: 1000, BatchSize: size}))
	defer stop()
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		steps, err := strconv.Atoi(orders.Text())
		if err != nil {
			return err
		}
		begun := time.Now()
		for range steps {
			if _, err, _ := next(); err != nil {
				return err
			}
		}
		fmt.Println(time.Since(begun).Seconds())
	}
	return orders.Err()
}
