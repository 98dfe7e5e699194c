package cli

import (
	"errors"
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
