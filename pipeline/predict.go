package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/residual-go/residual/tfgo/tensor"
)

// PredictShape returns the shape of the images that a model predicts for,
// [H,W,C].
func PredictShape(model Model) ([]int, error) {
	sig, err := signature(model, PredictSignature, []string{ImagesInput}, []string{ProbabilitiesOutput})
	if err != nil {
		return nil, err
	}
	images, _ := tensor.Find(sig.Inputs, ImagesInput)
	if len(images.Shape) != 4 || images.DType != tensor.Uint8 || slices.Contains(images.Shape[1:], tensor.AnySize) {
		return nil, fmt.Errorf("check signature %q: %q is %v %v, not uint8 [N,H,W,C] of one size", PredictSignature, ImagesInput, images.DType, images.Shape)
	}
	return images.Shape[1:], nil
}

// Predict returns a model's probabilities for a batch of images, uint8
// [N,H,W,C]: a row for each image, a column for each class.
func Predict(ctx context.Context, model Model, images tensor.Tensor) ([][]float32, error) {
	if len(images.Shape()) == 0 {
		return nil, fmt.Errorf("predict: images have shape %v, not [N,H,W,C]", images.Shape())
	}
	if _, err := signature(model, PredictSignature, []string{ImagesInput}, []string{ProbabilitiesOutput}); err != nil {
		return nil, err
	}
	outputs, err := model.Call(ctx, PredictSignature, map[string]tensor.Tensor{ImagesInput: images})
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	return Probabilities(outputs, images.Shape()[0])
}

// Probabilities returns what PredictSignature gave for n images: a row for each
// image, a column for each class.
func Probabilities(outputs map[string]tensor.Tensor, n int) ([][]float32, error) {
	probabilities := outputs[ProbabilitiesOutput]
	values, err := tensor.Values[float32](probabilities)
	if err != nil {
		return nil, fmt.Errorf("predict: %w", err)
	}
	shape := probabilities.Shape()
	if len(shape) != 2 || shape[0] != n || shape[1] == 0 && n > 0 {
		return nil, fmt.Errorf("predict: %q has shape %v for %d images", ProbabilitiesOutput, shape, n)
	}
	if n == 0 {
		return nil, nil
	}
	return slices.Collect(slices.Chunk(values, shape[1])), nil
}
