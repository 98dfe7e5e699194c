package cli

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/checkpoint"
)

const (
	verifyName = "verify"
	fromName   = "from"
)

func checkpointsCommand() *cli.Command {
	return &cli.Command{
		Name:      "checkpoints",
		Usage:     "look at the checkpoints of a run, make models of them",
		UsageText: "residual checkpoints list runs/first",
		Subcommands: []*cli.Command{
			{
				Name:      "list",
				Usage:     "list the checkpoints of a run and say which are whole",
				ArgsUsage: "RUN",
				UsageText: "residual checkpoints list runs/first --verify",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: verifyName, Usage: "hold every file against its SHA-256, not only its size"},
					jsonFlag,
				},
				Action: listCheckpoints,
			},
			{
				Name:      "export",
				Usage:     "make a SavedModel of a checkpoint",
				ArgsUsage: "STEP|last|best",
				UsageText: "residual checkpoints export best --from runs/first --out models/first",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: fromName, Usage: "the run directory `RUN`"},
					&cli.StringFlag{Name: "out", Usage: "the model directory to make: `DIR`"},
					quietFlag, jsonFlag,
				},
				Action: exportCheckpoint,
			},
		},
	}
}

// listed is a checkpoint as --json prints it.
type listed struct {
	Step       int               `json:"step"`
	Path       string            `json:"path"`
	Bytes      int64             `json:"bytes"`
	Saved      time.Time         `json:"saved"`
	Valid      bool              `json:"valid"`
	Problem    string            `json:"problem,omitempty"`
	Best       bool              `json:"best"`
	Epoch      int               `json:"epoch"` // under way
	Batch      int               `json:"batch"` // of it that were trained on
	Train      *pipeline.Metrics `json:"train"` // null where the state cannot be read
	Validation *pipeline.Metrics `json:"validation"`
	Test       *pipeline.Metrics `json:"test"`

	best int // the step of the best one, as this one knows it
}

type checkpointsResult struct {
	Run         string   `json:"run"`
	Verified    bool     `json:"verified"`
	Checkpoints []listed `json:"checkpoints"` // the newest first
}

func listCheckpoints(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef(c, "it takes one run directory, not %s", formatNumber(c.NArg(), "argument"))
	}
	run := runDir(c.Args().First())
	if _, err := run.stat(); err != nil {
		return fmt.Errorf("list checkpoints: %w", err)
	}
	all, err := checkpoint.Store{Dir: run.checkpoints()}.List()
	if err != nil {
		return err
	}
	result := checkpointsResult{Run: run.String(), Verified: c.Bool(verifyName), Checkpoints: []listed{}}
	damaged := 0
	for _, one := range all {
		if err := c.Context.Err(); err != nil {
			return err
		}
		l := look(one, result.Verified)
		if !l.Valid {
			damaged++
		}
		result.Checkpoints = append(result.Checkpoints, l)
	}
	// The newest that can be read knows which is the best.
	if newest := slices.IndexFunc(result.Checkpoints, func(l listed) bool { return l.Valid }); newest >= 0 {
		for i := range result.Checkpoints {
			result.Checkpoints[i].Best = result.Checkpoints[i].Step == result.Checkpoints[newest].best
		}
	}
	if c.Bool(jsonFlag.Name) {
		err = printJSON(c, result)
	} else {
		err = result.print(c)
	}
	if err == nil && damaged > 0 {
		return fmt.Errorf("%d of %s of %s cannot be used", damaged, formatNumber(len(all), "checkpoint"), run)
	}
	return err
}

// look reads a checkpoint. What is wrong with it is a part of the answer.
func look(one checkpoint.Checkpoint, verify bool) listed {
	l := listed{Step: one.Step, Path: one.Path}
	check := one.Check
	if verify {
		check = one.Verify
	}
	l.Bytes, l.Saved, _ = one.Size() // of what is there
	problem := check()
	saved, err := pipeline.ReadSaved(one)
	if problem = cmp.Or(problem, err); problem != nil {
		l.Problem = oneLine(problem.Error())
	}
	l.Valid = problem == nil
	if err == nil {
		l.Epoch, l.Batch, l.Train, l.Validation, l.Test = saved.Epoch, saved.Batch, &saved.Train, saved.Validation, saved.Test
		if saved.Best != nil {
			l.best = saved.Best.Step
		}
	}
	return l
}

func (r checkpointsResult) print(c *cli.Context) error {
	if len(r.Checkpoints) == 0 {
		return printLine(c, "%s has no checkpoints", r.Run)
	}
	figures := func(m *pipeline.Metrics) string {
		if m == nil || m.Examples == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4f %s", m.Loss, formatPercent(m.Accuracy))
	}
	rows := [][]string{{"step", "epochs", "batch", "train loss", "validation", "test", "size", "age", "state"}}
	for _, l := range r.Checkpoints {
		state := "whole"
		switch {
		case !l.Valid:
			state = l.Problem
		case !r.Verified:
			state = "sizes right"
		}
		if l.Valid && l.Best {
			state += ", best"
		}
		rows = append(rows, []string{
			fmt.Sprint(l.Step), fmt.Sprint(max(0, l.Epoch-1)), fmt.Sprint(l.Batch), figures(l.Train), figures(l.Validation), figures(l.Test),
			formatBytes(l.Bytes), age(l.Saved), state,
		})
	}
	return printLine(c, "%s", trimEnd(table(withoutEmpty(rows))))
}

// age is roughly how long ago something was.
func age(when time.Time) string {
	d := time.Since(when)
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}} {
		if d >= unit.of {
			return fmt.Sprintf("%d %s", d/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d s", max(0, d/time.Second))
}

// withoutEmpty leaves out the columns in which all rows but the head have "-".
func withoutEmpty(rows [][]string) [][]string {
	kept := make([][]string, len(rows))
	for column := range rows[0] {
		empty := true
		for _, row := range rows[1:] {
			empty = empty && row[column] == "-"
		}
		for i, row := range rows {
			if !empty {
				kept[i] = append(kept[i], row[column])
			}
		}
	}
	return kept
}
