package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

// What an upload may cost.
const (
	maxBytes  = 8 << 20
	maxPixels = 16_000_000 // 64 MB, once they are decoded
)

// animals are those of CIFAR-10's classes.
var animals = []string{"bird", "cat", "deer", "dog", "frog", "horse"}

var errPicture = errors.New("this is no picture")

// uploads answers what is on a JPEG or PNG file. It keeps nothing of it.
type uploads struct {
	batcher  *serving.Batcher
	classes  []string
	shape    imagefile.Shape
	decoding chan struct{} // a place for each picture at once
}

// verdict is an answer.
type verdict struct {
	Animal bool `json:"animal"`
	pipeline.Guess
}

func newUploads(batcher *serving.Batcher, m savedmodel.Metadata) (*uploads, error) {
	if !slices.ContainsFunc(m.Classes, isAnimal) {
		return nil, fmt.Errorf("check model: none of its classes is an animal: %q", m.Classes)
	}
	shape := imagefile.Shape(m.Image)
	if err := shape.Check(); err != nil {
		return nil, fmt.Errorf("check model: %w", err)
	}
	return &uploads{batcher, m.Classes, shape, make(chan struct{}, runtime.GOMAXPROCS(0))}, nil
}

func isAnimal(class string) bool { return slices.Contains(animals, class) }

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, err := u.judge(r.Context(), http.MaxBytesReader(w, r.Body, maxBytes))
	if err != nil {
		code := codeOf(err)
		if code == http.StatusInternalServerError {
			slog.Error("upload failed", "error", err)
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who does not listen any more is not told
}

// judge asks the model in this process: no JSON, no network.
func (u *uploads) judge(ctx context.Context, file io.Reader) (verdict, error) {
	data, err := io.ReadAll(file)
	if err != nil {
		return verdict{}, fmt.Errorf("read upload: %w: %w", errPicture, err)
	}
	images, err := u.decode(ctx, data)
	if err != nil {
		return verdict{}, err
	}
	probabilities, err := u.batcher.Predict(ctx, images)
	if err != nil {
		return verdict{}, err
	}
	best, err := pipeline.Top(probabilities[0], u.classes, 1)
	if err != nil {
		return verdict{}, err
	}
	return verdict{isAnimal(best[0].Class), best[0]}, nil
}

// decode makes a batch of one of a file.
func (u *uploads) decode(ctx context.Context, data []byte) (tensor.Tensor, error) {
	select {
	case u.decoding <- struct{}{}:
		defer func() { <-u.decoding }()
	case <-ctx.Done():
		return tensor.Tensor{}, context.Cause(ctx)
	}
	pixels := make([]byte, u.shape.Size())
	img, err := imagefile.DecodeAtMost(data, maxPixels)
	if err == nil {
		err = imagefile.Fit(img, u.shape, pixels)
	}
	if err != nil {
		return tensor.Tensor{}, fmt.Errorf("%w: %w", errPicture, err)
	}
	return tensor.Of(pixels, 1, u.shape.Height, u.shape.Width, u.shape.Channels)
}

// codeOf says whose fault an error is, as the server does.
func codeOf(err error) int {
	_, tooLong := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLong || errors.Is(err, imagefile.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errPicture):
		return http.StatusBadRequest
	}
	_, code := serving.Codes(err)
	return code
}
