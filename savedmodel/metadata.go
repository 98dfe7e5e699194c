package savedmodel

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/residual-go/residual/tfgo/tensor"
)

// metadataFile says what no signature can. SavedModel has the folder for such
// files; TensorFlow leaves them alone.
const metadataFile = "assets.extra/residual.json"

// metadataFormat is the newest that this program reads.
const metadataFormat = 1

// Metadata is what assets.extra/residual.json says of a model.
type Metadata struct {
	Format     int        `json:"format"`
	Name       string     `json:"name"`
	Recipe     string     `json:"recipe"`
	Classes    []string   `json:"classes"` // in label order
	Image      Image      `json:"image"`
	Upsample   int        `json:"upsample"`
	Precision  string     `json:"precision"` // of the layers; "" of models of before it was said, which are float32
	Resize     Resize     `json:"resize"`
	Defaults   Defaults   `json:"defaults"`
	Parameters Parameters `json:"parameters"`
	Layers     []Layer    `json:"layers"` // as Keras's summary lists them
	Versions   Versions   `json:"versions"`

	Head         []string `json:"head"`          // the layers that the signature train_head trains; nil without it
	Weights      string   `json:"weights"`       // what it began with: random, imagenet or a file's name; "" where nobody knows
	FromLogits   bool     `json:"from_logits"`   // the last layer gives logits
	SoftmaxTwice bool     `json:"softmax_twice"` // the loss takes the last layer's probabilities for logits
}

// Loss names what the cross-entropy is computed from, as python_export does.
func (m Metadata) Loss() string {
	switch {
	case m.FromLogits:
		return "logits"
	case m.SoftmaxTwice:
		return "softmax-twice"
	default:
		return "probabilities"
	}
}

// Image is the size of a model's input image, in pixels.
type Image struct {
	Height   int `json:"height"`
	Width    int `json:"width"`
	Channels int `json:"channels"`
}

// Resize says how an image of another size is brought to the model's.
type Resize struct {
	Rule          string `json:"rule"`
	Interpolation string `json:"interpolation"`
}

// Defaults are the settings that the recipe trains with.
type Defaults struct {
	Epochs       int     `json:"epochs"`
	BatchSize    int     `json:"batch_size"`
	LearningRate float64 `json:"learning_rate"`
	Shuffle      bool    `json:"shuffle"`
}

// Parameters counts a model's numbers.
type Parameters struct {
	Total        int `json:"total"`
	Trainable    int `json:"trainable"`
	NonTrainable int `json:"non_trainable"`
}

// Layer is a row of Keras's summary.
type Layer struct {
	Name        string `json:"name"`
	Class       string `json:"class"`
	OutputShape []*int `json:"output_shape"` // an element is nil where the size is free; nil if it has several outputs
	Parameters  int    `json:"parameters"`
}

// Versions are those of the software that exported the model.
type Versions struct {
	TensorFlow string `json:"tensorflow"`
	Keras      string `json:"keras"`
	Python     string `json:"python"`
	Residual   string `json:"residual"`
}

// readMetadata reads dir's metadata, or derives what it can from the signatures
// of a model that has none. It also returns the file as it is.
func readMetadata(files snapshot, dir string, signatures map[string]signature) (Metadata, json.RawMessage, error) {
	path := filepath.Join(dir, metadataFile)
	data, ok := files[filepath.FromSlash(metadataFile)]
	if !ok {
		return derive(signatures), nil, nil
	}
	var m Metadata
	err := json.Unmarshal(data, &m)
	if err != nil {
		return Metadata{}, nil, fmt.Errorf("read metadata %s: %w", path, err)
	}
	if m.Format < 1 || m.Format > metadataFormat {
		return Metadata{}, nil, fmt.Errorf("read metadata %s: its format is %d, this program reads 1 to %d", path, m.Format, metadataFormat)
	}
	if err = m.check(); err == nil {
		err = m.checkSignatures(signatures)
	}
	if err != nil {
		return Metadata{}, nil, fmt.Errorf("read metadata %s: %w", path, err)
	}
	return m, data, nil
}

// mostClasses is also python_export's bound.
const mostClasses = 100_000

func (m Metadata) check() error {
	if n := len(m.Classes); n < 2 || n > mostClasses {
		return fmt.Errorf("it names %d classes, expected 2 to %d", n, mostClasses)
	}
	seen := map[string]bool{}
	for _, class := range m.Classes {
		if class == "" || seen[class] {
			return fmt.Errorf("its class %q is empty or named twice", class)
		}
		seen[class] = true
	}
	if d := m.Defaults; d.Epochs < 0 || d.BatchSize < 0 || d.LearningRate < 0 || d.LearningRate > math.MaxFloat32 {
		return fmt.Errorf("its defaults are %+v", d)
	}
	if m.Image.Height < 1 || m.Image.Width < 1 || m.Image.Channels < 1 {
		return fmt.Errorf("its image is %dx%dx%d", m.Image.Height, m.Image.Width, m.Image.Channels)
	}
	return nil
}

// checkSignatures compares what is said of images and classes with the graph.
func (m Metadata) checkSignatures(signatures map[string]signature) error {
	want := []int{tensor.AnySize, m.Image.Height, m.Image.Width, m.Image.Channels}
	for _, name := range slices.Sorted(maps.Keys(signatures)) {
		s := signatures[name]
		images, ok := tensor.Find(s.public.Inputs, "images")
		if ok && len(images.Shape) == 4 && !slices.Equal(images.Shape[1:], want[1:]) {
			return fmt.Errorf("its image is %v, the signature %q takes %s", want[1:], name, images)
		}
		probabilities, ok := tensor.Find(s.public.Outputs, "probabilities")
		if ok && len(probabilities.Shape) == 2 && probabilities.Shape[1] != tensor.AnySize && probabilities.Shape[1] != len(m.Classes) {
			return fmt.Errorf("it names %d classes, the signature %q gives %s", len(m.Classes), name, probabilities)
		}
	}
	return nil
}

// derive takes the image's size and the number of classes from the signature
// that every server expects; classes are then named by number.
func derive(signatures map[string]signature) Metadata {
	var m Metadata
	serving := signatures["serving_default"].public
	if images, ok := tensor.Find(serving.Inputs, "images"); ok && len(images.Shape) == 4 && min(images.Shape[1], images.Shape[2], images.Shape[3]) > 0 {
		m.Image = Image{Height: images.Shape[1], Width: images.Shape[2], Channels: images.Shape[3]}
	}
	if probabilities, ok := tensor.Find(serving.Outputs, "probabilities"); ok && len(probabilities.Shape) == 2 && probabilities.Shape[1] <= mostClasses {
		for label := range probabilities.Shape[1] {
			m.Classes = append(m.Classes, strconv.Itoa(label))
		}
	}
	return m
}
