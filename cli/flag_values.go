package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// resumeMode is the value of --resume.
type resumeMode string

const (
	startOnly     resumeMode = "" // without the flag
	resumeOnly    resumeMode = "true"
	resumeOrStart resumeMode = "auto"
)

func (m *resumeMode) Set(value string) error {
	switch mode := resumeMode(value); mode {
	case resumeOnly, resumeOrStart:
		*m = mode
		return nil
	case "false":
		*m = startOnly
		return nil
	default:
		return errors.New("not a mode")
	}
}

func (m *resumeMode) String() string { return string(*m) }
func (m *resumeMode) kind() string   { return "auto, or stand alone" }

func (m *resumeMode) placeholder() string { return "[=auto]" }

// IsBoolFlag lets package flag take --resume without a value.
func (m *resumeMode) IsBoolFlag() bool { return true }

// interval is the value of --checkpoint-every: so many steps, or so much time.
type interval struct {
	steps int
	every time.Duration
}

func intervalOf(c *cli.Context) *interval { return c.Generic(checkpointEveryName).(*interval) }

func (i *interval) Set(value string) error {
	if steps, err := strconv.Atoi(value); err == nil && steps > 0 {
		*i = interval{steps: steps}
		return nil
	}
	every, err := time.ParseDuration(value)
	if err != nil || every <= 0 {
		return errors.New("neither steps nor a time")
	}
	*i = interval{every: every}
	return nil
}

func (i *interval) String() string {
	if i.steps > 0 {
		return strconv.Itoa(i.steps)
	}
	text := i.every.String() // 10m0s
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

func (i *interval) kind() string { return "a number of steps (500) or a time (10m)" }

// factors is the value of --upsample-schedule.
type factors []int

// largestFactor is also python_export's bound.
const largestFactor = 16

func factorsOf(c *cli.Context) *factors { return c.Generic(upsampleScheduleName).(*factors) }

func (f *factors) Set(value string) error {
	if value == "none" { // turns off what a resumed run had
		*f = nil
		return nil
	}
	var read factors
	for text := range strings.SplitSeq(value, ",") {
		factor, err := strconv.Atoi(text)
		if err != nil || factor < 1 || factor > largestFactor {
			return errors.New("not factors")
		}
		read = append(read, factor)
	}
	*f = read
	return nil
}

func (f *factors) String() string {
	texts := make([]string, len(*f))
	for i, factor := range *f {
		texts[i] = strconv.Itoa(factor)
	}
	return strings.Join(texts, ",")
}

// Get makes the value one that package cli can return.
func (f *factors) Get() any { return f }

func (f *factors) kind() string {
	return fmt.Sprintf("whole numbers from 1 to %d with commas (3,5,7), or none", largestFactor)
}

// texts is a flag that may be given several times.
type texts []string

func (t *texts) Set(text string) error {
	*t = append(*t, text)
	return nil
}

func (t *texts) String() string { return strings.Join(*t, ", ") }

// givenTexts returns what a flag of texts was given.
func givenTexts(c *cli.Context, name string) []string {
	given, ok := c.Generic(name).(*texts)
	if !ok {
		return nil
	}
	return *given
}
