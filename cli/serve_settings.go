package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/savedmodel"
)

// serveSettings are what the flags of serve say.
type serveSettings struct {
	options    serving.Options
	session    savedmodel.Options
	models     []*servedModel
	trust      bool
	watch      bool
	drain      time.Duration
	drainDelay time.Duration
	log        *slog.Logger
	jsonLog    bool
}

// servedModel is what --model names.
type servedModel struct {
	name   string
	dir    string
	folder *serving.Folder // of numbered versions; nil if dir is one model
}

func readServeSettings(c *cli.Context) (*serveSettings, error) {
	if err := noArguments(c); err != nil {
		return nil, err
	}
	if err := positive(c, maxBatchName, maxWaitingName, workersName, maxBodyName, maxImagesName, maxPixelsName, maxRequestsName, keepVersionsName); err != nil {
		return nil, err
	}
	for _, name := range []string{maxLingerName, readTimeoutName, drainName, drainDelayName} {
		if c.Duration(name) < 0 {
			return nil, usagef(c, "--%s must not be negative, but is %v", name, c.Duration(name))
		}
	}
	if port, grpcPort := c.Int(portName), c.Int(grpcPortName); min(port, grpcPort) < 0 || max(port, grpcPort) > math.MaxUint16 {
		return nil, usagef(c, "ports must be at most %d, not %d and %d", math.MaxUint16, port, grpcPort)
	} else if port == 0 && grpcPort == 0 {
		return nil, usagef(c, "there is nothing to listen on: --%s and --%s are both 0", portName, grpcPortName)
	} else if port == grpcPort {
		return nil, usagef(c, "--%s and --%s are both %d", portName, grpcPortName, port)
	}
	s := &serveSettings{
		trust: c.Bool(trustName), watch: c.Bool(watchName), drain: c.Duration(drainName), drainDelay: c.Duration(drainDelayName),
		options: serving.Options{
			Signatures: givenTexts(c, signatureName), Version: Version, Debug: c.Bool(debugName),
			Batch: serving.BatchOptions{
				MaxBatch: c.Int(maxBatchName), MaxWaiting: c.Int(maxWaitingName), MaxLinger: c.Duration(maxLingerName), Workers: c.Int(workersName),
			},
			Limits: serving.Limits{
				Body: c.Int(maxBodyName), Images: c.Int(maxImagesName), Pixels: c.Int(maxPixelsName), Requests: c.Int(maxRequestsName),
				Read: c.Duration(readTimeoutName),
			},
		},
	}
	if len(s.options.Signatures) == 0 {
		s.options.Signatures = []string{pipeline.PredictSignature}
	}
	var err error
	if s.log, s.jsonLog, err = serveLog(c); err != nil {
		return nil, err
	}
	s.options.Log = s.log
	if s.options.Token, err = readToken(c); err != nil {
		return nil, err
	}
	if s.session, err = sessionOptions(c); err != nil {
		return nil, err
	}
	s.session.Signatures = s.options.Signatures
	if err := s.readModels(c); err != nil {
		return nil, err
	}
	return s, s.readLabels(c)
}

// readModels reads --model.
func (s *serveSettings) readModels(c *cli.Context) error {
	given := givenTexts(c, modelFlag.Name)
	if len(given) == 0 {
		return needFlag(c, modelFlag)
	}
	names := map[string]bool{}
	for _, text := range given {
		m := &servedModel{}
		m.name, m.dir = nameAndDir(text)
		switch {
		case m.dir == "":
			return usagef(c, "--%s must be DIR or NAME=DIR, not %q", modelFlag.Name, text)
		case m.name == "" || strings.ContainsAny(m.name, "/:"):
			return usagef(c, "%q cannot be the name of a model: give --%s NAME=%s", m.name, modelFlag.Name, m.dir)
		case names[m.name]:
			return usagef(c, "two models are called %q: give --%s NAME=DIR", m.name, modelFlag.Name)
		}
		names[m.name] = true
		base, numbered, err := savedmodel.ResolveVersions(m.dir)
		if err != nil {
			return ofMissing(err, m.dir)
		}
		if numbered {
			m.folder = &serving.Folder{Name: m.name, Dir: base, Keep: c.Int(keepVersionsName), Open: s.open}
		} else if s.watch {
			return usagef(c, "--%s needs a folder of numbered versions, which %s is not", watchName, m.dir)
		}
		s.models = append(s.models, m)
	}
	return nil
}

// nameAndDir reads NAME=DIR, or DIR, whose last part is the name then. A version's
// directory, or the one of a run, has its parent's name.
func nameAndDir(text string) (name, dir string) {
	if name, dir, ok := strings.Cut(text, "="); ok && !strings.Contains(name, "/") {
		return name, dir
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return "", text
	}
	for range 2 {
		base := filepath.Base(path)
		if _, err := strconv.Atoi(base); err != nil && base != "model" {
			break
		}
		path = filepath.Dir(path)
	}
	return filepath.Base(path), text
}

// readLabels reads --label, once it is known which models there are.
func (s *serveSettings) readLabels(c *cli.Context) error {
	for _, text := range givenTexts(c, labelName) {
		label, number, ok := strings.Cut(text, "=")
		version, err := strconv.ParseInt(number, 10, 64)
		name, rest, qualified := strings.Cut(label, ":")
		if qualified {
			label = rest
		}
		if !ok || err != nil || version < 0 || label == "" || strings.ContainsAny(label, "/:") {
			return usagef(c, "--%s must be [MODEL:]LABEL=VERSION, not %q", labelName, text)
		}
		found := false
		for _, m := range s.models {
			if m.folder == nil || qualified && m.name != name {
				continue
			}
			found = true
			if m.folder.Labels == nil {
				m.folder.Labels = map[string]int64{}
			}
			m.folder.Labels[label] = version
		}
		if !found {
			return usagef(c, "--%s %s is for a folder of numbered versions, and no --%s is one of that name", labelName, text, modelFlag.Name)
		}
	}
	return nil
}

// open opens the model in a directory, once it is known to be harmless.
func (s *serveSettings) open(dir string) (serving.Version, error) {
	info, err := savedmodel.Inspect(dir)
	if err != nil {
		return serving.Version{}, err
	}
	if err := needSignatures(info, s.options.Signatures...); err != nil {
		return serving.Version{}, err
	}
	if !s.trust {
		if err := info.CheckOperations(s.options.Signatures); err != nil {
			return serving.Version{}, errors.Join(err, errors.New("--trust serves it all the same"))
		}
	}
	if info.RawMetadata != nil {
		if _, err := imageShape(info); err != nil {
			return serving.Version{}, err
		}
	}
	s.log.Info("loading", "model", dir)
	model, err := info.Open(s.session)
	if err != nil {
		return serving.Version{}, err
	}
	if why := whyOnCPU(model, s.session.Target); why != "" {
		s.log.Warn("computing on the CPU", "why", why)
	}
	return serving.Version{Model: model, Classes: info.Metadata.Classes, Close: model.Close}, nil
}

// loadAll loads what is there.
func (s *serveSettings) loadAll(ctx context.Context, server *serving.Server) error {
	for _, m := range s.models {
		if m.folder != nil {
			err := server.Sync(ctx, m.folder)
			if err != nil && !server.Serves(m.name) {
				return err
			}
			if err != nil {
				s.log.Warn("a version is not served", "model", m.name, "error", oneLine(err.Error()))
			}
			continue
		}
		version, err := s.open(m.dir)
		if err != nil {
			return err
		}
		version.Name, version.Number = m.name, 1
		if err := server.Load(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

// follow waits for the end: a signal, or a door that fails. With --watch it sees to
// it that the newest versions are served meanwhile.
func (s *serveSettings) follow(ctx context.Context, server *serving.Server, failed <-chan error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, m := range s.models {
		if s.watch && m.folder != nil {
			watchers.Go(func() { server.Follow(ctx, m.folder) })
		}
	}
	select {
	case <-ctx.Done():
		server.Drain() // before a version that is being loaded is waited for
	case err = <-failed:
		err = fmt.Errorf("listen: %w", err)
	}
	cancel()
	// A version that is being loaded is waited for, but not for ever.
	ended := make(chan struct{})
	go func() {
		watchers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(s.drain):
	}
	return err
}
