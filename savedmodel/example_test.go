package savedmodel_test

import (
	"context"
	"fmt"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
)

// README's examples are these two functions, word for word (readme_test.go).

func train(ctx context.Context) (accuracy float64, err error) {
	model, err := savedmodel.Open("models/resnet50", savedmodel.Options{})
	if err != nil {
		return 0, err
	}
	defer model.Close()
	m := model.Info().Metadata
	data, err := dataset.Open(ctx, "synthetic", dataset.Options{Classes: m.Classes, Shape: imagefile.Shape(m.Image)})
	if err != nil {
		return 0, err
	}
	result, err := pipeline.Fit(ctx, model, data.Train, pipeline.Options{Epochs: 3, Test: data.Test})
	if err != nil {
		return 0, err
	}
	return result.Test.Accuracy, model.Save(ctx, fmt.Sprintf("models/trained/%d", time.Now().Unix()))
}

func predict(ctx context.Context, files ...string) error {
	model, err := savedmodel.Open("models/trained", savedmodel.Options{})
	if err != nil {
		return err
	}
	defer model.Close()
	m := model.Info().Metadata
	classifier := pipeline.Classifier{Model: model, Classes: m.Classes, Shape: imagefile.Shape(m.Image)}
	answers, err := classifier.Files(ctx, files, 1)
	if err != nil {
		return err
	}
	for i, file := range files {
		fmt.Println(file, answers[i][0].Class)
	}
	return nil
}

// Example trains a model, saves it, and asks it. models/resnet50 is a small
// model here, and ship.png a drawn test image of that class.
func Example() {
	ctx := context.Background()
	accuracy, err := train(ctx)
	fmt.Println(accuracy > 0.9, err)
	fmt.Println(predict(ctx, "ship.png"))
	// Output:
	// true <nil>
	// ship.png ship
	// <nil>
}
