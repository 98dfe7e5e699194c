package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/tfgo"
)

// Version is that of the program.
const Version = "0.1.0"

// commit is set by scripts/build.sh and the Dockerfile, go build -ldflags "-X
// github.com/residual-go/residual/cli.commit=…"; other builds have Go's own record.
var commit string

// version adds the commit, where the build recorded one.
func version() string {
	found := commit
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				found = cmp.Or(found, setting.Value[:min(12, len(setting.Value))])
			}
		}
	}
	if found == "" {
		return Version
	}
	return Version + " (" + found + ")"
}

// printVersion is what --version does.
func printVersion(c *cli.Context) {
	library := "no TensorFlow"
	if found, err := tfgo.Load(); err == nil {
		library = "TensorFlow " + found.Version
	}
	fmt.Fprintf(c.App.Writer, "%s version %s, %s, %s/%s\n", c.App.Name, version(), library, runtime.GOOS, runtime.GOARCH)
}

// graftModule is the Go module of the TensorFlow bindings.
const graftModule = "github.com/wamuir/graft"

// moduleVersion returns the version of a dependency, such as "v0.10.0".
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == path {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}
