package dataset_test

import (
	"context"
	"fmt"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
)

func Example() {
	ctx := context.Background()
	data, err := dataset.Open(ctx, dataset.Synthetic, dataset.Options{
		Classes: []string{"cat", "dog", "horse"},
		Shape:   imagefile.Shape{Height: 32, Width: 32, Channels: 3},
		Limit:   100,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for batch, err := range data.Train.Batches(ctx, dataset.BatchOptions{Size: 40, Seed: 1, Epoch: 0}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("batch %d of %d: images %v, labels %v\n", batch.Index+1, batch.Count, batch.Images.Shape(), batch.Labels.Shape())
	}
	// Output:
	// batch 1 of 3: images [40 32 32 3], labels [40]
	// batch 2 of 3: images [40 32 32 3], labels [40]
	// batch 3 of 3: images [20 32 32 3], labels [20]
}

func ExampleOrder() {
	fmt.Println(dataset.Order(10, 0, 0))
	fmt.Println(dataset.Order(10, 0, 1))
	// Output:
	// [4 8 1 5 0 7 3 9 6 2]
	// [6 4 5 9 7 3 2 8 0 1]
}
