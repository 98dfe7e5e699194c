package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
)

// inspectModel reads the flags that every command with a model takes, and looks
// at the model's files: --model must have the signatures that the command will
// call. Nothing has been loaded yet.
func inspectModel(c *cli.Context, signatures ...string) (*savedmodel.Info, savedmodel.Options, error) {
	if err := needFlag(c, modelFlag); err != nil {
		return nil, savedmodel.Options{}, err
	}
	session, err := sessionOptions(c)
	if err != nil {
		return nil, session, err
	}
	dir := c.String(modelFlag.Name)
	info, err := savedmodel.Inspect(dir)
	if err != nil {
		return nil, session, ofMissing(err, dir)
	}
	session.Signatures = signatures
	return info, session, needSignatures(info, signatures...)
}

// ownModel is the model that was installed with the program, which train takes where
// no other is named: as in images and archives of residual.
func ownModel() (string, bool) {
	root, ok := programRoot()
	if !ok {
		return "", false
	}
	dir := filepath.Join(root, "share", "residual", "model")
	_, err := os.Stat(dir)
	return dir, err == nil
}

// inspectArgument looks at the model that --model or the one argument names.
func inspectArgument(c *cli.Context) (*savedmodel.Info, error) {
	dir := c.String(modelFlag.Name)
	switch {
	case c.NArg() > 1 || c.NArg() == 1 && dir != "":
		return nil, usagef(c, "%q is one argument too many", c.Args().Get(c.NArg()-1))
	case c.NArg() == 1:
		dir = c.Args().First()
	case dir == "":
		return nil, needFlag(c, modelFlag)
	}
	info, err := savedmodel.Inspect(dir)
	return info, ofMissing(err, dir)
}

// ofMissing says what to do about a model that is not there, or a run that has
// none yet.
func ofMissing(err error, dir string) error {
	if err == nil {
		return nil
	}
	dir = unfinishedRun(dir)
	if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("%w: residual export --out %s makes one", err, dir)
	}
	if !isUnfinished(dir) {
		return err
	}
	return fmt.Errorf("%w: the run is not finished; residual checkpoints export last --from %s --out DIR makes a model of its last checkpoint", err, dir)
}

// unfinishedRun is the run whose model will be in dir; dir itself if there is none.
func unfinishedRun(dir string) string {
	path := filepath.Clean(dir)
	for _, run := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if model := runDir(run).model(); (path == model || path == filepath.Dir(model)) && isUnfinished(run) {
			return run
		}
	}
	return dir
}

func isUnfinished(dir string) bool {
	state, err := runDir(dir).progress()
	return err == nil && state == unfinished
}

// needSignatures says what a model lacks.
func needSignatures(info *savedmodel.Info, names ...string) error {
	for _, name := range names {
		if _, ok := info.Signature(name); !ok {
			return fmt.Errorf("%s has no %q signature, only %s: export it with `residual export`",
				info.Dir, name, orNone(strings.Join(info.SignatureNames(), ", ")))
		}
	}
	return nil
}

// imageShape returns the size of the model's images, having checked that they
// are made as this program makes them.
func imageShape(info *savedmodel.Info) (imagefile.Shape, error) {
	m := info.Metadata
	shape := imagefile.Shape(m.Image)
	if len(m.Classes) == 0 || shape == (imagefile.Shape{}) {
		return shape, fmt.Errorf("read model: %s says neither its classes nor the size of its images (assets.extra/residual.json)", info.Dir)
	}
	if err := shape.Check(); err != nil {
		return shape, fmt.Errorf("read model: %s: %w", info.Dir, err)
	}
	if m.Resize != (savedmodel.Resize{}) && m.Resize != (savedmodel.Resize{Rule: imagefile.Rule, Interpolation: imagefile.Interpolation}) {
		return shape, fmt.Errorf("read model: %s wants images resized by %q with %q, this program does %q with %q",
			info.Dir, m.Resize.Rule, m.Resize.Interpolation, imagefile.Rule, imagefile.Interpolation)
	}
	return shape, nil
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
