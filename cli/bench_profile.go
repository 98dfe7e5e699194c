package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/residual-go/residual/pipeline/benchmark"
	"github.com/residual-go/residual/tfgo/trace"
)

// profiles is where --profile writes. A nil one writes nothing.
type profiles struct{ dir string }

// openProfiles makes the directory before anything is measured.
func openProfiles(dir string) (*profiles, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	return &profiles{dir}, nil
}

// traces is how many steps are traced. One is enough to count what it computes;
// times are told as the mean of some.
func (p *profiles) traces() int {
	if p == nil {
		return 1
	}
	return 3
}

// profile is the files of one task. A nil one has none.
type profile struct {
	prefix string // of their paths
	cpu    *os.File
}

// The files' names, after the task's.
const (
	opsName      = "-ops.csv"
	nodesName    = "-nodes.csv"
	timelineName = "-trace.json"
	cpuName      = "-cpu.pprof"
)

// profileFiles are the paths of them, as --json tells.
type profileFiles struct {
	Ops      string `json:"ops"`
	Nodes    string `json:"nodes"`
	Timeline string `json:"trace"`
	CPU      string `json:"cpu"`
}

func (p *profiles) files(task string) *profileFiles {
	if p == nil {
		return nil
	}
	prefix := filepath.Join(p.dir, task)
	return &profileFiles{prefix + opsName, prefix + nodesName, prefix + timelineName, prefix + cpuName}
}

func (p *profiles) open(task string) (*profile, error) {
	if p == nil {
		return nil, nil
	}
	prefix := filepath.Join(p.dir, task)
	cpu, err := os.Create(prefix + cpuName)
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	return &profile{prefix, cpu}, nil
}

func (p *profile) cpuProfile() io.Writer {
	if p == nil {
		return nil
	}
	return p.cpu
}

// close writes what was measured, unless that failed.
func (p *profile) close(m *benchmark.Measurement, measureErr error) error {
	if p == nil {
		return measureErr
	}
	err := p.cpu.Close()
	if measureErr != nil {
		return errors.Join(measureErr, os.Remove(p.cpu.Name()))
	}
	for _, file := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{opsName, func(w io.Writer) error { return trace.WriteOps(w, trace.ByOp(m.Traces...)) }},
		{nodesName, func(w io.Writer) error { return trace.WriteNodes(w, trace.ByNode(m.Traces...)) }},
		{timelineName, func(w io.Writer) error { return trace.WriteTimeline(w, m.Traces[len(m.Traces)-1]) }},
	} {
		if err == nil {
			err = writeFile(p.prefix+file.name, file.write)
		}
	}
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
