package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/checkpoint"
	"github.com/residual-go/residual/pipeline/plot"
)

// site is where train works: in a new run directory, or in that of a run that
// it goes on with.
type site struct {
	dir      runDir
	before   *runConfig // of the run to go on with; nil for a new one
	finished bool       // there is nothing left to do
	// saved is where the run goes on; nil at the beginning, also of a run that
	// was killed before its first checkpoint.
	saved   *pipeline.Saved
	filled  []string // flags that were not given and are the run's
	damaged []error  // what is wrong with newer checkpoints
	lock    *disk.Lock
	// remove takes a new directory away again; nil for one that was there.
	remove func() error
}

func (s *site) Close() error { return s.lock.Close() }

// findSite looks at what is at --out and does as --resume says. It writes
// nothing but the lock of a run that is there, and sets the flags that the run
// began with and that are not given now.
func findSite(c *cli.Context) (*site, error) {
	mode := *c.Generic(resumeName).(*resumeMode)
	s := &site{dir: runDir(outPath(c))}
	if mode == startOnly && c.Bool(overrideName) {
		return nil, usagef(c, "--%s is for a run that goes on: it needs --%s", overrideName, resumeName)
	}
	if s.dir == "" {
		if mode != startOnly {
			return nil, usagef(c, "--%s needs --out: the run directory to go on in", resumeName)
		}
		model := c.String(modelFlag.Name)
		if model == "" {
			model, _ = ownModel()
		}
		s.dir = defaultRun(model)
		return s, nil
	}
	state, err := s.dir.progress()
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for run: %w", err)
	case state == notBegun && mode == resumeOnly:
		return nil, fmt.Errorf("there is no run in %s to resume; without --%s, or with --%s=auto, it begins", s.dir, resumeName, resumeName)
	case state == notBegun:
		return s, nil
	case mode == startOnly:
		return nil, s.refuse(c, state)
	}
	if err := s.take(c, state); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// take takes over the run that is there.
func (s *site) take(c *cli.Context, state progress) (err error) {
	if state == finished {
		if err := s.readConfig(c); err != nil {
			return err
		}
		changes := s.before.given(c)
		if len(changes) == 0 {
			s.finished = true
			return s.readSaved(finished)
		}
		if !c.Bool(overrideName) {
			return usagef(c, "%s is finished, and had other settings: %s; --%s goes on with it, with these", s.dir, changes, overrideName)
		}
	}
	if s.lock, err = s.dir.lock(); err != nil {
		return err
	}
	now, err := s.dir.progress()
	if err != nil {
		return err
	}
	// As they are now that nobody else is here.
	if err := s.readConfig(c); err != nil {
		return err
	}
	if err := s.readSaved(now); err != nil {
		return err
	}
	if now == finished && state == unfinished {
		s.finished = true
		return nil
	}
	if s.saved == nil {
		if err := s.checkNothingIsLost(c.Context, now); err != nil {
			return err
		}
	} else if state == finished || s.before.changedSince(s.saved.Step) {
		s.saved.Done = false // it is to go on beyond its end
	} else if err := s.before.owns(s.saved); err != nil {
		return err
	}
	for _, err := range s.damaged {
		warn(c, "%v; going on from step %d, the one before", err, s.saved.Step)
	}
	s.filled, err = s.before.fill(c)
	return err
}

// checkNothingIsLost refuses to begin a run again that must have had a checkpoint: one is
// saved after the row of the first epoch is written, and before the next step.
func (s *site) checkNothingIsLost(ctx context.Context, state progress) error {
	_, missing := os.Stat(s.dir.checkpoints())
	course, err := s.dir.read(ctx)
	if state == unfinished && missing == nil && (err != nil || isBeforeFirst(course)) {
		return nil
	}
	return fmt.Errorf("resume run: %s has taken %s, and there is no checkpoint in %s: bring that back, or remove %[1]s to start over",
		s.dir, formatNumber(len(course.Steps), "step"), s.dir.checkpoints())
}

func isBeforeFirst(course plot.Run) bool {
	switch n := len(course.Epochs); {
	case n == 1 && len(course.Steps) > 0:
		return course.Steps[len(course.Steps)-1].Number <= course.Epochs[0].Step
	default:
		return n == 0
	}
}

// refuse says what is there, and what to do about it.
func (s *site) refuse(c *cli.Context, state progress) error {
	if state == finished {
		return usagef(c, "%s holds a finished run, its model is in %s: give another --out, or remove it to start over", s.dir, s.dir.model())
	}
	lock, err := s.dir.lock()
	if errors.Is(err, disk.ErrLocked) {
		return err
	}
	if err := lock.Close(); err != nil {
		return err
	}
	kept := "it has no checkpoint yet"
	if saved, _, err := pipeline.LastSaved(s.dir.checkpoints()); err == nil {
		kept = fmt.Sprintf("step %d, in epoch %d of %d, is in %s%s",
			saved.Step, min(saved.Epoch, saved.Settings.Epochs), saved.Settings.Epochs, saved.Path, ago(saved.Path))
	}
	return usagef(c, "%s holds a run that is not finished: %s; --%s goes on with it, and to start over remove it or give another --out",
		s.dir, kept, resumeName)
}

// ago says when a file was written.
func ago(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", saved %s ago", time.Since(info.ModTime()).Round(time.Second))
}

// readConfig reads the config of the run that is there, and says what the flags
// whose value is auto stand for in it.
func (s *site) readConfig(c *cli.Context) error {
	config, err := s.dir.readConfig()
	s.before = &config
	if err != nil {
		return err
	}
	return config.settleAuto(c)
}

// readSaved reads its newest checkpoint that is whole.
func (s *site) readSaved(state progress) (err error) {
	s.saved, s.damaged, err = pipeline.LastSaved(s.dir.checkpoints())
	if err == nil || state == finished || errors.Is(err, checkpoint.ErrNone) && len(s.damaged) == 0 { // killed before the first
		return nil
	}
	if len(s.damaged) == 0 {
		return fmt.Errorf("resume run: %w", err)
	}
	more := ""
	if n := len(s.damaged); n > 1 {
		more = fmt.Sprintf(", and so with %s more", formatCount(n-1))
	}
	return fmt.Errorf("resume run: %w: %w%s", err, s.damaged[0], more)
}

// moved says where a path came from that leads nowhere.
func (s *site) moved(c *cli.Context, err error, flag string) error {
	if s.before == nil || isStop(err) || !slices.Contains(s.filled, flag) {
		return err
	}
	if _, there := os.Stat(c.String(flag)); there == nil {
		return err
	}
	return fmt.Errorf("%w (that is what %s says: if it was moved, give --%s)", err, s.dir.config(), flag)
}

// prepare makes the run directory and writes config, or takes it over from the
// run before.
func (s *site) prepare(c *cli.Context, t *training, config runConfig) (err error) {
	if s.before == nil {
		if s.lock, s.remove, err = s.dir.make(); err != nil {
			return err
		}
		if err := s.dir.begin(t.info, config); err != nil {
			return errors.Join(err, s.remove())
		}
		return nil
	}
	if err := s.dir.sweep(); err != nil {
		return err
	}
	step := 0
	if s.saved != nil {
		step = s.saved.Step
	} else if err := s.dir.rewind(); err != nil {
		return err
	}
	config.Started = s.before.Started
	config.Resumed = append(s.before.Resumed, resumption{
		Time: now(), Step: step, Changed: s.before.changes(config), Versions: changedVersions(s.before.Versions, config.Versions),
	})
	where := "from the beginning: it has no checkpoint"
	if s.saved != nil {
		where = fmt.Sprintf("after step %d, from %s", step, s.saved.Path)
	}
	note(c, "going on with %s %s", s.dir, where)
	// A run that was finished is so no more. First: one that is killed here comes to
	// its old end again.
	if err := disk.Remove(s.dir.model()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("go on with a finished run: %w", err)
	}
	return s.dir.writeConfig(config)
}

// check refuses to go on with another model, other data or, without --override,
// other settings. Where it may go on it tells of what has changed.
func (s *site) check(c *cli.Context, config runConfig, t *training, model pipeline.Model) error {
	if s.before == nil {
		return nil
	}
	if err := s.before.sameInputs(s.dir, config); err != nil {
		return err
	}
	changes := s.before.changes(config)
	if len(changes) > 0 && !c.Bool(overrideName) {
		return usagef(c, "%s began with other settings: %s; leave them out to go on as it began, or give --%s too",
			s.dir, changes, overrideName)
	}
	if s.saved != nil {
		if err := s.saved.Check(model, t.data.Train, t.options); err != nil {
			return err
		}
	}
	for _, change := range changes {
		note(c, "overriding %s", change)
	}
	for name, versions := range changedVersions(s.before.Versions, config.Versions) {
		note(c, "%s is %s, the run began with %s: results may differ in the last bits", name, versions[1], versions[0])
	}
	return nil
}

// course is what the run has drawn so far.
func (s *site) course(ctx context.Context) plot.Run {
	if s.saved == nil {
		return plot.Run{}
	}
	run, err := s.dir.read(ctx)
	if err != nil { // the tables were taken away: the picture begins here
		return plot.Run{}
	}
	after := slices.IndexFunc(run.Steps, func(step plot.Step) bool { return step.Number > s.saved.Step })
	if after >= 0 {
		run.Steps = run.Steps[:after]
	}
	run.Epochs = run.Epochs[:min(len(run.Epochs), s.saved.Epoch-1)]
	return run
}
