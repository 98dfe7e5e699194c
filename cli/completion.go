package cli

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/tfgo"
)

//go:embed completion
var completionScripts embed.FS

// shells are those that completion has a script for.
var shells = []string{"bash", "fish", "zsh"}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete residual's commands",
		UsageText: `eval "$(residual completion bash)"`,
		ArgsUsage: strings.Join(shells, "|"),
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(shells, shell) {
				return usagef(c, "completion takes one of %s, not %q", strings.Join(shells, ", "), strings.Join(c.Args().Slice(), " "))
			}
			script, err := completionScripts.ReadFile(path.Join("completion", "residual."+shell))
			if err != nil {
				return fmt.Errorf("read completion script: %w", err)
			}
			return printLine(c, "%s", strings.TrimSuffix(string(script), "\n"))
		},
	}
}

// completeCommand is what those scripts call, with the words of the line so far: it
// prints what may stand for the last one, and where the shell is to offer files, a
// line with nothing but a dot.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 0 {
				words = []string{""}
			}
			candidates, files := complete(c.App, words[:len(words)-1], words[len(words)-1])
			for _, one := range candidates {
				if err := printLine(c, "%s", strings.TrimSuffix(one.word+"\t"+one.meaning, "\t")); err != nil {
					return err
				}
			}
			if files {
				return printLine(c, ".")
			}
			return nil
		},
	}
}

// candidate is a word that may stand where the cursor is.
type candidate struct{ word, meaning string }

// complete returns what may stand for the last word, which has been begun, behind the
// words before it; and whether a file may.
func complete(app *cli.App, before []string, begun string) (candidates []candidate, files bool) {
	command, commands := (*cli.Command)(nil), app.Commands
	flag := cli.Flag(nil) // that waits for its value
	for _, word := range before {
		switch {
		case flag != nil:
			flag = nil
		case strings.HasPrefix(word, "-"):
			if command != nil && takesValue(command, word) {
				flag = flagNamed(command, strings.TrimLeft(word, "-"))
			}
		default:
			if i := slices.IndexFunc(commands, func(c *cli.Command) bool { return !c.Hidden && c.HasName(word) }); i >= 0 {
				command, commands = commands[i], commands[i].Subcommands
			}
		}
	}
	name, _, assigned := strings.Cut(begun, "=")
	switch {
	case flag != nil:
		candidates, files = valuesOf(command, flag)
	case assigned && strings.HasPrefix(begun, "--") && command != nil && flagNamed(command, name[2:]) != nil:
		candidates, files = valuesOf(command, flagNamed(command, name[2:]))
		for i := range candidates {
			candidates[i].word = name + "=" + candidates[i].word
		}
	case strings.HasPrefix(begun, "-"):
		candidates = flagsOf(app, command)
	case len(commands) > 0:
		for _, c := range commands {
			if !c.Hidden {
				candidates = append(candidates, candidate{c.Name, c.Usage})
			}
		}
	case command != nil && command.ArgsUsage != "":
		if command.Name == "completion" {
			for _, shell := range shells {
				candidates = append(candidates, candidate{shell, ""})
			}
		} else {
			files = true
		}
	}
	return slices.DeleteFunc(candidates, func(c candidate) bool { return !strings.HasPrefix(c.word, begun) }), files
}

func flagNamed(command *cli.Command, name string) cli.Flag {
	i := slices.IndexFunc(command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return command.Flags[i]
}

func flagsOf(app *cli.App, command *cli.Command) []candidate {
	flags := app.VisibleFlags()
	if command != nil {
		flags = command.VisibleFlags()
	}
	var candidates []candidate
	for _, f := range flags {
		meaning := ""
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			meaning = strings.ReplaceAll(doc.GetUsage(), "`", "")
		}
		candidates = append(candidates, candidate{"--" + f.Names()[0], meaning})
	}
	return candidates
}

// valuesOf returns the words that a command's flag takes, and whether it takes files.
func valuesOf(command *cli.Command, flag cli.Flag) (candidates []candidate, files bool) {
	name := flag.Names()[0]
	words, ok := flagWords[command.Name+" "+name]
	if !ok {
		words = flagWords[name]
	}
	for _, word := range words {
		candidates = append(candidates, candidate{word, ""})
	}
	return candidates, slices.Contains(fileFlags, name)
}

// flagWords are the words that flags take, of a command before those of all.
var flagWords = map[string][]string{
	dataFlag.Name:                  {"cifar10", "synthetic"},
	deviceFlag.Name:                {tfgo.AutoDevice, tfgo.CPUDevice, tfgo.GPUDevice},
	gpuMemoryFlag.Name:             {memoryGrowth},
	precisionFlag.Name:             {autoPrecision, string(tfgo.Float32), string(tfgo.TF32), string(tfgo.BFloat16)},
	"export " + precisionFlag.Name: {"float32", "bfloat16", "float16"},
	scheduleName:                   scheduleNames,
	holdDataName:                   holdDataValues,
	logName:                        logNames,
	freezeName:                     {frozenBackbone},
	logFormatName:                  {"text", "json"},
	"recipe":                       {"keras", "pytorch"},
	"loss":                         {"published", "logits"},
	"weights":                      {"random", "imagenet"},
	"batch-norm":                   {"fused", "keras"},
}

// fileFlags take files or folders.
var fileFlags = []string{
	modelFlag.Name, dataFlag.Name, "out", "weights", "save-keras", profileName, "from", tokenFileName, tlsCertName, tlsKeyName,
}
