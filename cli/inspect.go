package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo/tensor"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "say what is in a model's files, without TensorFlow",
		UsageText: "residual inspect --model models/resnet50",
		ArgsUsage: "[DIR]",
		Flags: []cli.Flag{
			modelFlag,
			&cli.BoolFlag{Name: scanName, Usage: "say which operations it has, and fail if there are some that no classifier needs"},
			jsonFlag,
		},
		Action: inspect,
	}
}

const scanName = "scan"

func inspect(c *cli.Context) error {
	info, err := inspectArgument(c)
	if err != nil {
		return err
	}
	if c.Bool(scanName) {
		return scan(c, info)
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, inspection(info))
	}
	return printLine(c, "%s", trimEnd(inspectText(info)))
}

// lossText explains Metadata.Loss.
var lossText = map[string]string{
	"probabilities": "cross-entropy of the model's probabilities",
	"logits":        "cross-entropy of the model's logits",
	"softmax-twice": "cross-entropy of a second softmax over the model's probabilities, as published",
}

func inspectText(info *savedmodel.Info) string {
	m := info.Metadata
	rows := [][]string{
		{"model", info.Dir},
		{"written by", "TensorFlow " + info.TensorFlow},
		{"tags", strings.Join(info.Tags, ", ")},
		{"size", formatBytes(info.Size)},
	}
	if m.Recipe != "" {
		rows = append(rows, []string{"recipe", m.Recipe})
	}
	if info.RawMetadata != nil {
		rows = append(rows, []string{"loss", lossText[m.Loss()]})
	}
	if m.Precision != "" {
		rows = append(rows, []string{"precision", m.Precision})
	}
	if m.Weights != "" {
		rows = append(rows, []string{"weights", m.Weights + ", when it was exported"})
	}
	if len(m.Classes) > 0 {
		rows = append(rows, []string{"classes", fmt.Sprintf("%d: %s", len(m.Classes), strings.Join(m.Classes, ", "))})
	}
	if m.Parameters.Total > 0 {
		rows = append(rows, []string{"parameters", formatCount(m.Parameters.Total)})
	}
	if len(m.Head) > 0 {
		rows = append(rows, []string{"head", strings.Join(m.Head, ", ")})
	}
	var text strings.Builder
	text.WriteString(table(rows))
	for _, name := range info.SignatureNames() {
		s, _ := info.Signature(name)
		fmt.Fprintf(&text, "\nsignature %s\n", name)
		for _, input := range s.Inputs {
			fmt.Fprintf(&text, "  in   %s\n", input)
		}
		for _, output := range s.Outputs {
			fmt.Fprintf(&text, "  out  %s\n", output)
		}
	}
	fmt.Fprintf(&text, "\n%s\n", formatNumber(len(info.Variables), "variable"))
	var variables [][]string
	for _, v := range info.Variables {
		variables = append(variables, []string{"  " + v.Name, v.DType.String(), tensor.FormatShape(v.Shape), formatBytes(v.Size)})
	}
	text.WriteString(table(variables))
	return text.String()
}

// scan reports a model's operations. It fails if serve would refuse the model for
// any of its functions.
func scan(c *cli.Context, info *savedmodel.Info) error {
	all, refused := info.Scan(nil)
	if c.Bool(jsonFlag.Name) {
		if err := printJSON(c, map[string]any{"model": info.Dir, "operations": all, "refused": append([]savedmodel.Operation{}, refused...)}); err != nil {
			return err
		}
	} else if err := printLine(c, "%s", trimEnd(scanText(all, refused))); err != nil {
		return err
	}
	if len(refused) > 0 {
		return silentExit(exitFailure)
	}
	return nil
}

func scanText(all, refused []savedmodel.Operation) string {
	count := 0
	var rows [][]string
	for _, op := range all {
		count += op.Count
		rows = append(rows, []string{op.Name, formatCount(op.Count)})
	}
	text := table(rows) + fmt.Sprintf("\n%s of %s: ", formatNumber(count, "operation"), formatNumber(len(all), "kind"))
	if len(refused) == 0 {
		return text + "none that a classifier does not need"
	}
	text += "a classifier does not need\n"
	rows = nil
	for _, op := range refused {
		rows = append(rows, []string{"  " + op.Name, "in " + printable(op.Where)})
	}
	return text + table(rows)
}

// specResult and its like are what --json prints.
type specResult struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"` // -1 where the size is free, null where the rank is
}

type signatureResult struct {
	Inputs  []specResult `json:"inputs"`
	Outputs []specResult `json:"outputs"`
}

type variableResult struct {
	specResult
	Bytes int64 `json:"bytes"`
}

func inspection(info *savedmodel.Info) any {
	signatures := map[string]signatureResult{}
	for _, name := range info.SignatureNames() {
		s, _ := info.Signature(name)
		signatures[name] = signatureResult{specResults(s.Inputs), specResults(s.Outputs)}
	}
	variables := make([]variableResult, len(info.Variables))
	for i, v := range info.Variables {
		variables[i] = variableResult{specResult{v.Name, v.DType.String(), v.Shape}, v.Size}
	}
	return map[string]any{
		"model":      info.Dir,
		"tensorflow": info.TensorFlow,
		"tags":       info.Tags,
		"bytes":      info.Size,
		"signatures": signatures,
		"variables":  variables,
		"metadata":   info.RawMetadata, // null where there is none
	}
}

func specResults(specs []tensor.Spec) []specResult {
	results := make([]specResult, len(specs))
	for i, s := range specs {
		results[i] = specResult{s.Name, s.DType.String(), s.Shape}
	}
	return results
}
