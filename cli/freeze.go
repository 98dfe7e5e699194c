package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/features"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
)

const (
	freezeName     = "freeze"
	frozenBackbone = "backbone"
)

var freezeFlag = &cli.StringFlag{
	Name:        freezeName,
	Usage:       "freeze `PART`: with backbone, only the layers behind it are trained, on features that are computed once",
	DefaultText: "none",
}

// checkFreeze refuses another part than there is, and what a head has no use for:
// its batches are as large as anybody likes, and its features have one size.
func checkFreeze(c *cli.Context) error {
	if !c.IsSet(freezeName) {
		return nil
	}
	if part := c.String(freezeName); part != frozenBackbone {
		return usagef(c, "--%s must be %s, not %q", freezeName, frozenBackbone, part)
	}
	if c.Int(accumulateName) > 1 {
		return usagef(c, "--%s is for models that do not fit into memory whole: with --%s give a larger --%s", accumulateName, freezeName, batchSizeFlag.Name)
	}
	if schedule := *factorsOf(c); len(schedule) > 0 {
		return usagef(c, "--%s %s cannot be had with --%s: features are computed once, at the model's own size", upsampleScheduleName, factorsOf(c), freezeName)
	}
	return nil
}

// checkHead refuses to freeze the backbone of a model that has no head.
func checkHead(c *cli.Context, info *savedmodel.Info) error {
	for _, name := range features.Signatures {
		if _, ok := info.Signature(name); c.IsSet(freezeName) && !ok {
			return fmt.Errorf("--%s %s: %s has no %q signature: `residual export` writes it for models that end in layers of one vector, such as Dense, behind others with weights",
				freezeName, frozenBackbone, info.Dir, name)
		}
	}
	return nil
}

// traineeOf returns what a run trains: the model, or its head.
func traineeOf(c *cli.Context, model *savedmodel.Model) (pipeline.Saver, error) {
	if !c.IsSet(freezeName) {
		return model, nil
	}
	return features.NewHead(model)
}

// ofRun tells whether a model is a run's.
func ofRun(dir string) bool {
	_, err := os.Stat(runDir(filepath.Dir(filepath.Dir(dir))).config())
	return err == nil
}

// featuresResult is what --json prints of features, in images.
type featuresResult struct {
	Computed int     `json:"computed"`
	Cached   int     `json:"cached"`
	Seconds  float64 `json:"seconds"` // that computing or checking them took
	Cache    string  `json:"cache"`
}

func (r featuresResult) String() string {
	taken := fmt.Sprintf("%s from %s", formatNumber(r.Cached, "image"), r.Cache)
	if r.Computed == 0 {
		return taken
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	computed := fmt.Sprintf("%s computed in %s", formatNumber(r.Computed, "image"), took)
	if r.Cached == 0 {
		return computed + ", kept in " + r.Cache
	}
	return computed + ", " + taken
}

// examples returns what the run trains on: images, or with --freeze their
// features, which then are its validation and test, too.
func (t *training) examples(c *cli.Context, model *savedmodel.Model) (train holdable, close func() error, err error) {
	var opened []*features.Rows
	close = func() error {
		var errs []error
		for _, rows := range opened {
			errs = append(errs, rows.Close())
		}
		return errors.Join(errs...)
	}
	if !c.IsSet(freezeName) {
		return t.data.Train, close, nil
	}
	head := cmp.Or(strings.Join(t.info.Metadata.Head, ", "), "the head")
	note(c, "training %s of %s, the backbone stays as it is", head, t.info.Dir)
	if t.info.Metadata.Weights == "random" && !ofRun(t.info.Dir) {
		note(c, "the backbone's weights were random when the model was exported: unless it was trained since, a head can learn next to nothing from it (residual export --weights imagenet)")
	}
	begun := time.Now()
	t.features = &featuresResult{}
	for _, split := range []struct {
		name     string
		examples *dataset.Examples
		use      func(*features.Rows)
	}{
		{"training", t.data.Train, func(rows *features.Rows) { train = rows }},
		{"validation", t.validation, func(rows *features.Rows) { t.options.Validation = rows }},
		{"test", t.data.Test, func(rows *features.Rows) { t.options.Test = rows }},
	} {
		if split.examples.Len() == 0 {
			continue
		}
		rows, err := t.openFeatures(c, model, split.name, split.examples)
		if err != nil {
			return nil, nil, errors.Join(err, close())
		}
		opened = append(opened, rows)
		split.use(rows)
	}
	t.features.Seconds = time.Since(begun).Seconds()
	note(c, "features: %s", t.features)
	return train, close, nil
}

// openFeatures returns a split's features, telling the user what takes long.
func (t *training) openFeatures(c *cli.Context, model *savedmodel.Model, name string, examples *dataset.Examples) (*features.Rows, error) {
	meter := newMeter(c)
	defer meter.Close()
	cache := features.Cache{
		Setup: t.setup(model.OnGPU()),
		Progress: func(done, total int) {
			meter.show(dataset.Progress{Doing: "compute features of " + name + " images", Unit: "images", Done: int64(done), Total: int64(total)})
		},
		Warn: func(err error) { t.logs.warn(c, err.Error()) },
	}
	rows, err := cache.Open(c.Context, model, examples)
	if err != nil {
		return nil, err
	}
	if t.features.Cache = filepath.Dir(filepath.Dir(rows.Path)); rows.Computed {
		t.features.Computed += rows.Len()
	} else {
		t.features.Cached += rows.Len()
	}
	return rows, nil
}

// setup is what the last bits of features depend on beside the model.
func (t *training) setup(onGPU bool) string {
	tensorflow := ""
	if library, err := tfgo.Load(); err == nil {
		tensorflow = library.Version
	}
	threads := cmp.Or(t.session.Threads, runtime.NumCPU())
	setup := fmt.Sprintf("%s, %d threads, TensorFlow %s, oneDNN %t, residual %s", t.session.Precision, threads, tensorflow, tfgo.OneDNN(), version())
	if onGPU {
		setup += ", GPU"
	}
	if t.session.Target.XLA {
		setup += ", XLA"
	}
	return setup
}
