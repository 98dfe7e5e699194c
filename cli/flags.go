package cli

import (
	"math"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The flags that mean the same in every command.
var (
	modelFlag = &cli.StringFlag{Name: "model", Usage: "a SavedModel, a folder of numbered versions, or a run directory: `DIR`"}
	dataFlag  = &cli.StringFlag{Name: "data", Usage: "cifar10, synthetic, or the `PATH` of a folder with CIFAR-10's binary files or class folders"}

	batchSizeFlag = &cli.IntFlag{Name: "batch-size", Usage: "images in a batch: `N`"}
	limitFlag     = &cli.IntFlag{Name: "limit", Usage: "use only `N` examples a split, spread evenly over the classes", DefaultText: "all"}
	seedFlag      = &cli.Int64Flag{Name: "seed", Usage: "a run is a function of its seed `N`"}

	jsonFlag  = &cli.BoolFlag{Name: "json", Usage: "print one JSON object as the last line"}
	quietFlag = &cli.BoolFlag{Name: "quiet", Usage: "print nothing but errors and results"}
)

// needFlag refuses an empty or missing flag that has no default.
func needFlag(c *cli.Context, flags ...*cli.StringFlag) error {
	for _, flag := range flags {
		if c.String(flag.Name) == "" {
			meaning := strings.ReplaceAll(strings.TrimSuffix(flag.Usage, ": `DIR`"), "`", "")
			return usagef(c, "--%s is missing: it is %s", flag.Name, meaning)
		}
	}
	return nil
}

// noArguments refuses what stands after the flags.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usagef(c, "%q is one argument too many", c.Args().First())
	}
	return nil
}

// largest bounds the numbers that take memory. A batch is allocated and
// TensorFlow makes as many threads as it is told to: what is beyond these is a
// slip that would bring the machine down.
var largest = map[string]int{
	batchSizeFlag.Name: 1 << 20,
	accumulateName:     1 << 20,
	threadsFlag.Name:   1 << 10,
	stepsName:          1 << 20,
}

// positive refuses a number that was given and is below 1 or beyond largest; 0
// is the default of a flag that was not.
func positive(c *cli.Context, names ...string) error {
	for _, name := range names {
		n, most := c.Int(name), largest[name]
		switch {
		case !c.IsSet(name):
		case n < 1:
			return usagef(c, "--%s must be at least 1, not %d", name, n)
		case most > 0 && n > most:
			return usagef(c, "--%s must be at most %s, not %d", name, formatCount(most), n)
		}
	}
	return nil
}

// oneOf refuses what is none of a flag's values.
func oneOf(c *cli.Context, name string, values []string) error {
	if value := c.String(name); !slices.Contains(values, value) {
		return usagef(c, "--%s must be one of %s, not %q", name, strings.Join(values, ", "), value)
	}
	return nil
}

// positiveFloat refuses a number that was given and is not a positive float32.
func positiveFloat(c *cli.Context, name string) error {
	if value := c.Float64(name); c.IsSet(name) && !(float32(value) > 0 && value <= math.MaxFloat32) {
		return usagef(c, "--%s must be a positive number, not %g", name, value)
	}
	return nil
}
