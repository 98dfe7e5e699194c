package cli

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/callback"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/plot"
	"github.com/residual-go/residual/savedmodel"
)

func evaluateCommand() *cli.Command {
	return &cli.Command{
		Name:      "evaluate",
		Usage:     "measure a model on the test images",
		UsageText: "residual evaluate --model runs/first --data cifar10",
		Flags: slices.Concat([]cli.Flag{
			modelFlag, dataFlag,
			&cli.StringFlag{Name: "out", Usage: "the folder for confusion.png: `DIR`", DefaultText: "the run's plots, if --model is a run directory"},
			recipeDefault(batchSizeFlag),
			limitFlag,
		}, sessionFlags(), []cli.Flag{debugFlag, quietFlag, jsonFlag}),
		Action: evaluate,
	}
}

func evaluate(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if err := needFlag(c, modelFlag, dataFlag); err != nil {
		return err
	}
	if err := positive(c, batchSizeFlag.Name, limitFlag.Name); err != nil {
		return err
	}
	info, session, err := inspectModel(c, pipeline.EvaluateSignature)
	if err != nil {
		return err
	}
	picture, err := confusionPath(c)
	if err != nil {
		return err
	}
	data, err := openData(c, info, dataset.OnlyTest)
	if err != nil {
		return err
	}
	model, err := openModel(c, info, session)
	if err != nil {
		return err
	}
	defer model.Close()
	result, err := measure(c, model, data.Test)
	if err != nil {
		return err
	}
	if result.Confusion == nil {
		picture = "" // too many classes
	}
	if picture != "" {
		err := writePicture(picture, func(file *bytes.Buffer) error {
			return plot.Confusion(file, result.Confusion, info.Metadata.Classes)
		})
		if err != nil {
			return err
		}
	}
	return reportEvaluation(c, result, info.Metadata, picture)
}

func measure(c *cli.Context, model *savedmodel.Model, test *dataset.Examples) (result pipeline.Evaluation, err error) {
	o := pipeline.EvaluateOptions{
		BatchSize: model.Info().Metadata.Defaults.BatchSize,
		Classes:   len(model.Info().Metadata.Classes),
	}
	if c.IsSet(batchSizeFlag.Name) {
		o.BatchSize = c.Int(batchSizeFlag.Name)
	}
	if !c.Bool(quietFlag.Name) {
		progress := &callback.Progress{Out: c.App.ErrWriter}
		defer func() { progress.Close(err) }()
		o.OnBatch = func(s pipeline.TestStep) error { return progress.Handle(c.Context, s) }
	}
	return pipeline.Evaluate(c.Context, model, test, o)
}

// confusionPath returns where confusion.png goes, "" if there is no place for
// it.
func confusionPath(c *cli.Context) (string, error) {
	folder := outPath(c)
	if run, ok := runOf(c.String(modelFlag.Name)); ok && folder == "" {
		folder = run.plots()
	}
	if folder == "" {
		return "", nil
	}
	path := filepath.Join(folder, "confusion.png")
	if err := checkFile(path); err != nil {
		return "", fmt.Errorf("write picture: %w", err)
	}
	return path, nil
}

// evaluateResult is what --json prints.
type evaluateResult struct {
	pipeline.Metrics
	PerClass  map[string]float64 `json:"per_class"`
	Confusion [][]int            `json:"confusion"`         // [label][prediction], in the order of classes; null above pipeline.MaxConfusion
	Classes   []string           `json:"classes"`           // in label order
	Picture   string             `json:"picture,omitempty"` // of the confusion matrix
}

func reportEvaluation(c *cli.Context, result pipeline.Evaluation, model savedmodel.Metadata, picture string) error {
	classes := model.Classes
	if c.Bool(jsonFlag.Name) {
		out := evaluateResult{Metrics: result.Metrics, PerClass: map[string]float64{}, Confusion: result.Confusion, Classes: classes, Picture: picture}
		for label, class := range classes {
			out.PerClass[class] = result.PerClass[label].Accuracy()
		}
		return printJSON(c, out)
	}
	text := confusionText(result, classes) + "\ntest  " + scoreText(result.Metrics) + "\n"
	switch {
	case picture != "":
		text += "confusion matrix  " + picture + "\n"
	case result.Confusion == nil:
		text += fmt.Sprintf("no confusion matrix: there are more than %d classes\n", pipeline.MaxConfusion)
	default:
		text += "confusion matrix as a picture: give --out DIR\n"
	}
	return printLine(c, "%s", trimEnd(text+networkLine(model.Recipe, result.Metrics)))
}

// confusionText is the confusion matrix, a row for each true class, with the
// class's accuracy at its end. Wide ones leave the columns away. CIFAR-10's ten
// classes fit into 80 columns.
func confusionText(result pipeline.Evaluation, classes []string) string {
	const (
		widest   = 20 // classes
		initials = 4  // letters that stand for a class above its counts
	)
	narrow := len(classes) <= widest
	head := []string{"true class"}
	if narrow {
		for _, class := range classes {
			head = append(head, string([]rune(class)[:min(initials, len([]rune(class)))]))
		}
	}
	rows := [][]string{append(head, "accuracy")}
	for label, class := range classes {
		row := []string{class}
		if narrow {
			for _, n := range result.Confusion[label] {
				row = append(row, strconv.Itoa(n))
			}
		}
		rows = append(rows, append(row, formatPercent(result.PerClass[label].Accuracy())))
	}
	text := table(rows)
	if narrow {
		text = "a row for each true class, a column for what was predicted\n\n" + text
	}
	return text
}
