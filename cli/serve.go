package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
)

const (
	hostName         = "host"
	portName         = "port"
	grpcPortName     = "grpc-port"
	watchName        = "watch"
	keepVersionsName = "keep-versions"
	labelName        = "label"
	signatureName    = "signature"
	trustName        = "trust"
	maxBatchName     = "max-batch"
	maxWaitingName   = "max-waiting"
	maxLingerName    = "max-linger"
	workersName      = "workers"
	maxBodyName      = "max-body"
	maxImagesName    = "max-images"
	maxPixelsName    = "max-pixels"
	maxRequestsName  = "max-requests"
	readTimeoutName  = "read-timeout"
	drainName        = "drain"
	drainDelayName   = "drain-delay"
	tokenFileName    = "token-file"
	tlsCertName      = "tls-cert"
	tlsKeyName       = "tls-key"
	logFormatName    = "log-format"
	debugName        = "debug"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "answer requests over HTTP and gRPC, as TensorFlow Serving does",
		UsageText: "residual serve --model runs/first",
		Flags: slices.Concat([]cli.Flag{
			&cli.GenericFlag{Name: modelFlag.Name, Usage: "a SavedModel, a folder of numbered versions, or a run directory, also as NAME=`DIR`; may be given several times", Value: &texts{}},
			&cli.StringFlag{Name: hostName, Usage: "the address `H` to listen on; 0.0.0.0 for all", Value: "127.0.0.1"},
			&cli.IntFlag{Name: portName, Usage: "answer HTTP on port `N`; 0 for none", Value: 8501},
			&cli.IntFlag{Name: grpcPortName, Usage: "answer gRPC on port `N`; 0 for none", Value: 8500},
			&cli.BoolFlag{Name: watchName, Usage: "serve new versions when they come, and unload old ones"},
			&cli.IntFlag{Name: keepVersionsName, Usage: "serve the `N` newest versions", Value: 1},
			&cli.GenericFlag{Name: labelName, Usage: "a name for a version, [MODEL:]LABEL=VERSION, such as `stable=3`", Value: &texts{}},
			&cli.GenericFlag{Name: signatureName, Usage: "the functions `NAME` that are served", DefaultText: pipeline.PredictSignature, Value: &texts{}},
			&cli.BoolFlag{Name: trustName, Usage: "serve also a model with operations that no classifier needs"},
			&cli.IntFlag{Name: maxBatchName, Usage: "compute at most `N` images at once", DefaultText: "as many as take a second, up to 64"},
			&cli.IntFlag{Name: maxWaitingName, Usage: "let at most `N` images wait", DefaultText: "256"},
			&cli.DurationFlag{Name: maxLingerName, Usage: "wait a time `T` for a batch to become full", DefaultText: "not at all"},
			&cli.IntFlag{Name: workersName, Usage: "compute `N` batches at once", DefaultText: "1, with all cores"},
			&cli.IntFlag{Name: maxBodyName, Usage: "the most bytes `N` of a request", DefaultText: "16 MiB"},
			&cli.IntFlag{Name: maxImagesName, Usage: "the most images `N` of a request", DefaultText: "1024"},
			&cli.IntFlag{Name: maxPixelsName, Usage: "the most pixels `N` of an image that is decoded", DefaultText: "16 million"},
			&cli.IntFlag{Name: maxRequestsName, Usage: "the most requests `N` at once", DefaultText: "512"},
			&cli.DurationFlag{Name: readTimeoutName, Usage: "how long `T` a request's body may take", DefaultText: "30s"},
			&cli.DurationFlag{Name: drainName, Usage: "after SIGTERM, answer what has come for at most a time `T`", Value: 30 * time.Second},
			&cli.DurationFlag{Name: drainDelayName, Usage: "after SIGTERM, accept connections for a time `T`", Value: time.Second},
			&cli.StringFlag{Name: tokenFileName, Usage: "answer only who sends the token in `FILE`, as Authorization: Bearer TOKEN"},
			&cli.StringFlag{Name: tlsCertName, Usage: "a certificate `FILE`, PEM, for HTTPS and gRPC"},
			&cli.StringFlag{Name: tlsKeyName, Usage: "its key `FILE`, PEM"},
			&cli.StringFlag{Name: logFormatName, Usage: "`F` is text or json", Value: "text"},
			&cli.BoolFlag{Name: debugName, Usage: "log each request, show TensorFlow's log, and serve /debug/pprof"},
		}, sessionFlags(), []cli.Flag{quietFlag, jsonFlag}),
		Action: serve,
	}
}

func serve(c *cli.Context) error {
	settings, err := readServeSettings(c)
	if err != nil {
		return err
	}
	collectSeldom()
	server, err := serving.NewServer(settings.options)
	if err != nil {
		return err
	}
	for _, m := range settings.models {
		server.Announce(m.name)
	}
	doors, err := listen(c, settings, server)
	if err != nil {
		return err
	}
	err = settings.loadAll(c.Context, server)
	if err == nil {
		if err = reportServing(c, settings, doors); err == nil {
			err = settings.follow(c.Context, server, doors.failed)
		}
	}
	return finishServing(c, settings, server, doors, err)
}

// collectSeldom lets Go's memory grow five times before it is collected, unless GOGC
// says otherwise: it is some megabytes beside TensorFlow's gigabyte, and collecting
// it was a tenth of what a request costs. Where it is more than that, because large
// images are decoded, it is collected as soon as it can be.
func collectSeldom() {
	const large = 512 << 20
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(large)
	}
}

// reportServing says where requests are answered.
func reportServing(c *cli.Context, settings *serveSettings, doors *doors) error {
	var names []string
	for _, m := range settings.models {
		names = append(names, m.name)
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"http": doors.httpURL, "grpc": doors.grpcAddress, "models": names})
	}
	if settings.jsonLog {
		return nil
	}
	text := "answering for " + strings.Join(names, ", ")
	if doors.httpURL != "" {
		text += " at " + doors.httpURL + "/"
	}
	if doors.grpcAddress != "" {
		text += ", gRPC at " + doors.grpcAddress
	}
	note(c, "%s; Ctrl-C ends it", text)
	return nil
}

// finishServing answers what has come and ends. err is why it does, nil after a
// signal.
func finishServing(c *cli.Context, settings *serveSettings, server *serving.Server, doors *doors, err error) error {
	if cause := context.Cause(c.Context); cause != nil && err == nil {
		settings.log.Info("draining", "cause", cause.Error())
	}
	server.Drain()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(c.Context), settings.drain+settings.drainDelay, fmt.Errorf("--%s was over", drainName))
	defer cancel()
	if err == nil {
		time.Sleep(settings.drainDelay) // connections end with their next answer, balancers look elsewhere
	}
	failed := doors.close(ctx)
	closed := make(chan error, 1)
	go func() { closed <- server.Close(ctx) }()
	select {
	case closeErr := <-closed:
		failed = cmp.Or(failed, closeErr)
	case <-ctx.Done(): // what still computes ends with the process
		failed = cmp.Or(failed, context.Cause(ctx))
	}
	switch {
	case err != nil && c.Context.Err() != nil:
		return context.Cause(c.Context) // while loading
	case err != nil:
		return err
	case failed != nil:
		return fmt.Errorf("drain: %w", failed)
	}
	settings.log.Info("ended")
	return nil
}

// serveLog makes the log.
func serveLog(c *cli.Context) (log *slog.Logger, inJSON bool, err error) {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	switch {
	case c.Bool(debugName):
		o.Level = slog.LevelDebug
	case c.Bool(quietFlag.Name):
		o.Level = slog.LevelWarn
	}
	switch format := c.String(logFormatName); format {
	case "text":
		return slog.New(slog.NewTextHandler(c.App.ErrWriter, o)), false, nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, o)), true, nil
	default:
		return nil, false, usagef(c, "--%s must be text or json, not %q", logFormatName, format)
	}
}

// readToken reads --token-file.
func readToken(c *cli.Context) (string, error) {
	path := c.String(tokenFileName)
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("read token: %s must hold one word", path)
	}
	return token, nil
}
