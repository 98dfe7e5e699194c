package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline/plot"
	"github.com/residual-go/residual/savedmodel"
)

// comparedRuns is the name of a picture of several runs.
const comparedRuns = "runs.png"

func plotCommand() *cli.Command {
	return &cli.Command{
		Name:      "plot",
		Usage:     "draw the curves of one run, or of several in one picture",
		UsageText: "residual plot runs/first runs/second --out runs.svg",
		ArgsUsage: "RUN...",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name:        "out",
				Usage:       "the picture, a `FILE` ending in .png or .svg, or a folder for both; a picture that is there is replaced",
				DefaultText: "of one run its plots, of several runs.png in the working directory",
			},
			jsonFlag,
		},
		Action: plotRuns,
	}
}

// plotResult is what --json prints.
type plotResult struct {
	Pictures []string     `json:"pictures"`
	Runs     []plottedRun `json:"runs"` // as given
}

type plottedRun struct {
	Run    string `json:"run"`
	Name   string `json:"name"` // in the picture
	Steps  int    `json:"steps"`
	Epochs int    `json:"epochs"` // whole ones
}

func plotRuns(c *cli.Context) error {
	dirs := make([]runDir, c.NArg())
	for i, path := range c.Args().Slice() {
		dirs[i] = runDir(filepath.Clean(path))
	}
	switch {
	case len(dirs) == 0:
		return usagef(c, "no run was given: plot wants run directories, as `residual train` makes them")
	case len(dirs) > plot.MaxRuns:
		return usagef(c, "%d runs are too many to be told apart in one picture: give at most %d", len(dirs), plot.MaxRuns)
	}
	if err := checkRuns(c, dirs); err != nil {
		return err
	}
	pictures, err := picturePaths(c, dirs)
	if err != nil {
		return err
	}
	names, err := distinctNames(dirs)
	if err != nil {
		return err
	}
	runs := make([]plot.Run, len(dirs))
	result := plotResult{Pictures: pictures}
	for i, dir := range dirs {
		if runs[i], err = dir.read(c.Context); err != nil {
			return err
		}
		runs[i].Title = names[i]
		result.Runs = append(result.Runs, plottedRun{dir.String(), names[i], len(runs[i].Steps), len(runs[i].Epochs)})
	}
	if len(runs) == 1 {
		runs[0].Title = dirs[0].title(names[0])
	}
	if err := drawRuns(runs, pictures); err != nil {
		return err
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, result)
	}
	return printLine(c, "%s drawn in %s", formatNumber(len(runs), "run"), strings.Join(pictures, " and "))
}

func drawRuns(runs []plot.Run, pictures []string) error {
	for _, path := range pictures {
		err := writePicture(path, func(file *bytes.Buffer) error {
			format := plot.Format(suffix(path))
			if len(runs) == 1 {
				return plot.Curves(file, runs[0], format)
			}
			return plot.Compare(file, runs, format)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// suffix returns a file's suffix without its dot, in small letters.
func suffix(path string) string { return strings.ToLower(strings.TrimPrefix(filepath.Ext(path), ".")) }

// picturePaths returns the pictures that --out, or its default, stands for.
func picturePaths(c *cli.Context, dirs []runDir) ([]string, error) {
	out := outPath(c)
	var paths []string
	switch {
	case out == "" && len(dirs) == 1:
		paths = allFormats(dirs[0].curve())
	case out == "":
		paths = []string{comparedRuns}
	case isFolder(c.String("out")) && len(dirs) == 1:
		paths = allFormats(filepath.Join(out, filepath.Base(dirs[0].curve())))
	case isFolder(c.String("out")):
		paths = allFormats(filepath.Join(out, comparedRuns))
	case slices.Contains(plot.Formats, plot.Format(suffix(out))):
		paths = []string{out}
	default:
		return nil, usagef(c, "--out must end in .png or .svg, or be a folder, which ends in / if it is new, not %q", out)
	}
	for _, path := range paths {
		if err := checkFile(path); err != nil {
			return nil, fmt.Errorf("write picture: %w", err)
		}
	}
	return paths, nil
}

// isFolder tells whether a path is meant to be a folder: it is one, it ends as
// one, or it has no suffix at all.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() || os.IsPathSeparator(path[len(path)-1]) || filepath.Ext(path) == ""
}

// allFormats returns the pictures that belong to a PNG, itself first.
func allFormats(png string) []string {
	var paths []string
	for _, format := range plot.Formats {
		paths = append(paths, format.Beside(png))
	}
	return paths
}

// checkRuns refuses what is no run, and a run that is given twice, by whatever
// path.
func checkRuns(c *cli.Context, dirs []runDir) error {
	infos := make([]os.FileInfo, len(dirs))
	for i, dir := range dirs {
		var err error
		if infos[i], err = dir.stat(); err != nil {
			return fmt.Errorf("read run: %w", err)
		}
		for j := range i {
			if os.SameFile(infos[i], infos[j]) {
				return usagef(c, "%s is the same run as %s: give each run once", c.Args().Get(i), c.Args().Get(j))
			}
		}
	}
	return nil
}

// title returns what train writes above a run's curves, the name of its model;
// of an unfinished run, that of the model it began from. Failing that it is the
// name of the run.
func (r runDir) title(name string) string {
	for _, model := range []string{r.String(), r.configured().Model} {
		if model == "" {
			continue
		}
		if info, err := savedmodel.Inspect(model); err == nil && info.Metadata.Name != "" {
			return info.Metadata.Name
		}
	}
	return name
}

// distinctNames names runs by the ends of their paths, as short as they may be
// without two being the same.
func distinctNames(dirs []runDir) ([]string, error) {
	paths := make([][]string, len(dirs))
	for i, dir := range dirs {
		full, err := filepath.Abs(dir.String())
		if err != nil {
			return nil, fmt.Errorf("find run %s: %w", dir, err)
		}
		paths[i] = strings.Split(strings.Trim(filepath.ToSlash(full), "/"), "/")
	}
	names := make([]string, len(dirs))
	for i, path := range paths {
		taken := func(name []string) bool {
			return slices.ContainsFunc(slices.Delete(slices.Clone(paths), i, i+1), func(other []string) bool {
				return len(other) >= len(name) && slices.Equal(other[len(other)-len(name):], name)
			})
		}
		from := len(path) - 1
		for from > 0 && taken(path[from:]) {
			from--
		}
		names[i] = strings.Join(path[from:], "/")
	}
	return names, nil
}
