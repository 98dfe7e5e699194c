package cli

import (
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/tfgo"
)

// runConfig is a run's config.json.
type runConfig struct {
	Format       int               `json:"format"`
	Started      time.Time         `json:"started"`
	Model        string            `json:"model"`
	Recipe       string            `json:"recipe"` // "" where there is none
	Loss         string            `json:"loss"`   // see savedmodel.Metadata.Loss
	Data         string            `json:"data"`
	Train        splitConfig       `json:"train"`
	Test         *splitConfig      `json:"test"` // null when nothing is tested
	Epochs       int               `json:"epochs"`
	BatchSize    int               `json:"batch_size"`
	LearningRate float64           `json:"learning_rate"`
	Shuffle      bool              `json:"shuffle"`
	Seed         int64             `json:"seed"`
	Limit        int               `json:"limit"` // 0 is no limit
	Precision    string            `json:"precision"`
	Threads      int               `json:"threads"`
	Log          []string          `json:"log"`               // who the run was written for
	Project      string            `json:"project,omitempty"` // W&B's
	Name         string            `json:"name,omitempty"`    // in W&B
	Versions     map[string]string `json:"versions"`
}

type splitConfig struct {
	Examples    int    `json:"examples"`
	Fingerprint string `json:"fingerprint"` // SHA-256, see dataset.Examples.Fingerprint
}

func (t *training) config(c *cli.Context) runConfig {
	config := runConfig{
		Format:       1,
		Started:      time.Now().UTC().Truncate(time.Second),
		Model:        t.info.Dir,
		Recipe:       t.info.Metadata.Recipe,
		Loss:         t.info.Metadata.Loss(),
		Data:         t.data.Name,
		Train:        splitConfig{t.data.Train.Len(), t.data.Train.Fingerprint()},
		Epochs:       t.options.Epochs,
		BatchSize:    t.options.BatchSize,
		LearningRate: t.options.LearningRate,
		Shuffle:      !t.options.NoShuffle,
		Seed:         t.options.Seed,
		Limit:        c.Int(limitFlag.Name),
		Precision:    string(t.session.Precision),
		Threads:      t.session.Threads,
		Log:          t.logs.names,
		Project:      t.logs.project,
		Name:         t.logs.name,
		Versions: map[string]string{
			"residual": version(),
			"go":       runtime.Version(),
			"graft":    moduleVersion(graftModule),
		},
	}
	if config.Threads == 0 {
		config.Threads = runtime.NumCPU()
	}
	if t.data.Test != nil {
		config.Test = &splitConfig{t.data.Test.Len(), t.data.Test.Fingerprint()}
	}
	if library, err := tfgo.Load(); err == nil {
		config.Versions["tensorflow"] = library.Version
	}
	return config
}
