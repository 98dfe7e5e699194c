package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "make a model in Python (Keras), once; all else is Go",
		UsageText: "residual export --out models/resnet50",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the directory to make: `DIR`"},
			&cli.StringFlag{Name: "recipe", Usage: "the published system to follow, keras or pytorch: `NAME`", DefaultText: "keras"},
			&cli.StringFlag{Name: "loss", Usage: "`KIND` is published, or logits: the sound one for pytorch", DefaultText: "published"},
			&cli.IntFlag{Name: "upsample", Usage: "enlarge the images `N` times, 1 to 16", DefaultText: "7"},
			&cli.StringFlag{Name: "classes", Usage: "how many, or their names in label order: `N|NAME,NAME,...`", DefaultText: "CIFAR-10's ten"},
			&cli.IntFlag{Name: "image-size", Usage: "height and width of the images in pixels: `N`", DefaultText: "32"},
			&cli.StringFlag{Name: "weights", Usage: "random, imagenet, or a .keras, .h5, .npz, .safetensors or .pth file: `W`", DefaultText: "random"},
			&cli.Int64Flag{Name: "seed", Usage: "of the random weights: `N`", DefaultText: "0"},
			&cli.StringFlag{Name: "batch-norm", Usage: "`KIND` is fused, which is faster, or keras, the stock layers", DefaultText: "fused"},
			&cli.StringFlag{Name: "precision", Usage: "`P` of the model's layers is float32, or bfloat16 or float16, which GPUs compute faster", DefaultText: "float32"},
			&cli.StringFlag{Name: "save-keras", Usage: "also write the stock Keras model: `FILE`.keras"},
			jsonFlag,
		},
		Action: export,
	}
}

// export runs python_export with the flags that were given; Python knows the
// defaults and checks the values.
func export(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if c.String("out") == "" {
		return usagef(c, "--out is missing: it is the directory to make")
	}
	python, root, err := findPython()
	if err != nil {
		return err
	}
	args := []string{"-m", "python_export", "export"}
	for _, flag := range c.Command.Flags {
		name := flag.Names()[0]
		switch {
		case name == "help" || !c.IsSet(name):
		case name == jsonFlag.Name:
			args = append(args, "--json")
		default:
			args = append(args, fmt.Sprintf("--%s=%v", name, c.Value(name)))
		}
	}
	return runPython(c, python, root, args)
}
