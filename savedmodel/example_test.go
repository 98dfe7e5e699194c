package savedmodel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
)

// README's examples are these three functions, word for word (readme_test.go).

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

func mount(mux *http.ServeMux, model *savedmodel.Model) (*serving.Server, error) {
	server, err := serving.New(model, serving.Options{Name: "cifar", Classes: model.Info().Metadata.Classes})
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"/v1/", "/v2", "/v2/", "/readyz", "/metrics"} {
		mux.Handle(path, server) // POST /v1/models/cifar:classify with a JPEG as the body, and the rest
	}
	return server, nil
}

// post asks a mounted model for the best class of an image file.
func post(ctx context.Context, file string) (string, error) {
	model, err := savedmodel.Open("models/trained", savedmodel.Options{Signatures: []string{"serving_default"}})
	if err != nil {
		return "", err
	}
	defer model.Close()
	mux := http.NewServeMux()
	server, err := mount(mux, model)
	if err != nil {
		return "", err
	}
	defer server.Close(ctx)
	body, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer body.Close()
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/v1/models/cifar:classify?top=1", body))
	var got struct {
		Images []struct{ Top []pipeline.Guess }
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || len(got.Images) != 1 {
		return "", fmt.Errorf("%v: %s", err, answer.Body)
	}
	return got.Images[0].Top[0].Class, nil
}

// Example trains a model, saves it, asks it, and serves it. models/resnet50 is a small
// model here, and ship.png a drawn test image of that class.
// The training data are copied once, and several short steps are one call.
func ExampleModel_Hold() {
	ctx := context.Background()
	options := pipeline.Options{Epochs: 1, Hold: true}
	model, err := savedmodel.Open("models/resnet50", savedmodel.Options{Held: []string{options.Signature()}})
	if err != nil {
		panic(err)
	}
	defer model.Close()
	m := model.Info().Metadata
	data, err := dataset.Open(ctx, "synthetic", dataset.Options{Classes: m.Classes, Shape: imagefile.Shape(m.Image), Limit: 640})
	if err != nil {
		panic(err)
	}
	result, err := pipeline.Fit(ctx, model, data.Train, options)
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Steps, "steps")
	// Output: 10 steps
}

func Example() {
	ctx := context.Background()
	accuracy, err := train(ctx)
	fmt.Println(accuracy > 0.9, err)
	fmt.Println(predict(ctx, "ship.png"))
	fmt.Println(post(ctx, "ship.png"))
	// Output:
	// true <nil>
	// ship.png ship
	// <nil>
	// ship <nil>
}
