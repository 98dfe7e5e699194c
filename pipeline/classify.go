package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Classifier names what is on image files.
type Classifier struct {
	Model   Model
	Classes []string        // in label order
	Shape   imagefile.Shape // of the model's images; files of another size are brought to it
	// BatchSize is how many images are asked about at once; 0 means 32.
	BatchSize int
}

// Guess is one answer about an image.
type Guess struct {
	Class       string  `json:"class"`
	Probability float32 `json:"probability"`
}

// Files returns the k most probable classes of each JPEG or PNG file, best
// first.
func (c Classifier) Files(ctx context.Context, paths []string, k int) ([][]Guess, error) {
	answers := make([][]Guess, 0, len(paths))
	for chunk := range slices.Chunk(paths, max(1, cmp.Or(c.BatchSize, 32))) {
		images, err := c.read(chunk)
		if err != nil {
			return nil, err
		}
		probabilities, err := Predict(ctx, c.Model, images)
		if err != nil {
			return nil, err
		}
		for i, row := range probabilities {
			if slices.ContainsFunc(row, isNaN) {
				return nil, fmt.Errorf("predict %q: the model's probabilities are not numbers: its training has diverged", chunk[i])
			}
			top, err := Top(row, c.Classes, k)
			if err != nil {
				return nil, err
			}
			answers = append(answers, top)
		}
	}
	return answers, nil
}

func isNaN(p float32) bool { return p != p }

func (c Classifier) read(paths []string) (tensor.Tensor, error) {
	if err := c.Shape.Check(); err != nil {
		return tensor.Tensor{}, err
	}
	size := c.Shape.Size()
	pixels := make([]byte, len(paths)*size)
	for i, path := range paths {
		img, err := imagefile.Read(path)
		if err != nil {
			return tensor.Tensor{}, err
		}
		if err := imagefile.Fit(img, c.Shape, pixels[i*size:][:size]); err != nil {
			return tensor.Tensor{}, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return tensor.Of(pixels, len(paths), c.Shape.Height, c.Shape.Width, c.Shape.Channels)
}

// Top returns the k most probable classes, best first; all of them if k is
// larger. Equal probabilities keep the classes' order.
func Top(probabilities []float32, classes []string, k int) ([]Guess, error) {
	if len(probabilities) != len(classes) {
		return nil, fmt.Errorf("name classes: %d probabilities for %d names", len(probabilities), len(classes))
	}
	if k < 1 {
		return nil, fmt.Errorf("name classes: the best %d were asked for, at least 1 is expected", k)
	}
	guesses := []Guess{}
	for _, label := range TopLabels(probabilities, k) {
		guesses = append(guesses, Guess{Class: classes[label], Probability: probabilities[label]})
	}
	return guesses, nil
}

// TopLabels is Top for who wants to know which of the classes they are: two may have
// the same name. k must be positive.
func TopLabels(probabilities []float32, k int) []int {
	labels := make([]int, len(probabilities))
	for label := range labels {
		labels[label] = label
	}
	slices.SortStableFunc(labels, func(a, b int) int { return cmp.Compare(probabilities[b], probabilities[a]) })
	return labels[:min(k, len(labels))]
}
