// Package features computes once what a model's backbone makes of images, and
// hands that to the training of its head.
//
// # Basics
//
// Of a model that python_export could part, Cache.Open returns the features of
// a split, computed now or before, as data of its own, and Head is the model
// that is trained on them:
//
//	head, err := features.NewHead(model)
//	rows, err := features.Cache{}.Open(ctx, model, data.Train)
//	defer rows.Close()
//	result, err := pipeline.Fit(ctx, head, rows, pipeline.Options{Epochs: 20})
//	err = model.Save(ctx, "models/trained") // whole: backbone and head
//
// The numbers are those of running the backbone in each step, as it predicts:
// its BatchNorms use their averages, its Dropouts let all through.
//
// # Caveats
//
// Features are kept under the model's fingerprint, which is that of its files:
// they are to be computed before anything trains the model in this process.
package features

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// The signatures that a model needs, and the names of their tensors.
const (
	ComputeSignature  = "features"
	TrainSignature    = "train_head"
	EvaluateSignature = "evaluate_head"

	featuresName = "features" // float32 [N,features]
	ImagesInput  = "images"   // uint8 [N,H,W,C]
)

// Signatures lists them.
var Signatures = []string{ComputeSignature, TrainSignature, EvaluateSignature}

// heads are the signatures that stand for those of the whole model.
var heads = map[string]string{
	pipeline.TrainSignature:    TrainSignature,
	pipeline.EvaluateSignature: EvaluateSignature,
}

// Head is a model whose backbone is frozen: its train and evaluate take features
// in the place of images, and nothing but the head is trained. Variables are
// those of the whole model.
type Head struct{ model pipeline.Saver }

var (
	_ pipeline.Saver  = (*Head)(nil)
	_ pipeline.Holder = (*Head)(nil)
)

// NewHead returns the head of a model. pipeline.ErrNoSignature is in the chain of
// the error where the model has none.
func NewHead(model pipeline.Saver) (*Head, error) {
	for _, name := range Signatures {
		if _, ok := model.Signature(name); !ok {
			return nil, fmt.Errorf("find signature %q: %w", name, pipeline.ErrNoSignature)
		}
	}
	return &Head{model}, nil
}

// Signature describes train and evaluate of the head. There are no others.
func (h *Head) Signature(name string) (tensor.Signature, bool) {
	s, ok := h.model.Signature(heads[name])
	s.Inputs = slices.Clone(s.Inputs)
	for i := range s.Inputs {
		if s.Inputs[i].Name == featuresName {
			s.Inputs[i].Name = ImagesInput
		}
	}
	return s, ok
}

// Call runs one of them.
func (h *Head) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	own, err := ownName(name)
	if err != nil {
		return nil, err
	}
	return h.model.Call(ctx, own, renamed(inputs))
}

// renamed are inputs with the features under their own name.
func renamed(inputs map[string]tensor.Tensor) map[string]tensor.Tensor {
	own := make(map[string]tensor.Tensor, len(inputs))
	for input, value := range inputs {
		if input == ImagesInput {
			input = featuresName
		}
		own[input] = value
	}
	return own
}

// Holds tells whether the model can hold features for train.
func (h *Head) Holds(name string) error {
	own, holder, err := h.holder(name)
	if err != nil {
		return err
	}
	return holder.Holds(own)
}

// Hold holds features for train, if the model can hold anything.
func (h *Head) Hold(ctx context.Context, name string, rows map[string]tensor.Tensor) error {
	own, holder, err := h.holder(name)
	if err != nil {
		return err
	}
	return holder.Hold(ctx, own, renamed(rows))
}

// CallHeld runs train on them.
func (h *Head) CallHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	own, holder, err := h.holder(name)
	if err != nil {
		return nil, err
	}
	return holder.CallHeld(ctx, own, indexes, inputs)
}

func (h *Head) holder(name string) (own string, holder pipeline.Holder, err error) {
	if own, err = ownName(name); err != nil {
		return "", nil, err
	}
	holder, ok := h.model.(pipeline.Holder)
	if !ok {
		return "", nil, errors.New("the model cannot hold examples")
	}
	return own, holder, nil
}

// ownName is the model's name of a head's signature.
func ownName(name string) (string, error) {
	own, ok := heads[name]
	if !ok {
		return "", fmt.Errorf("call signature %q: a head has only %s and %s", name, pipeline.TrainSignature, pipeline.EvaluateSignature)
	}
	return own, nil
}

// SaveVariables writes those of the whole model.
func (h *Head) SaveVariables(ctx context.Context, prefix string) error {
	return h.model.SaveVariables(ctx, prefix)
}

// RestoreVariables reads those of the whole model. Its backbone must be the one
// that the features are of.
func (h *Head) RestoreVariables(ctx context.Context, prefix string) error {
	return h.model.RestoreVariables(ctx, prefix)
}

// Fingerprint is the model's, marked: a run that has trained a whole model is not
// gone on with on features, nor the other way round.
func (h *Head) Fingerprint() string {
	if model, ok := h.model.(interface{ Fingerprint() string }); ok {
		return model.Fingerprint() + " (head)"
	}
	return ""
}
