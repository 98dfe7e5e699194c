package cli

import (
	"runtime/debug"
	"strings"
)

// Version is that of the program.
const Version = "0.1.0"

// version adds the commit, where the build recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return Version + " (" + setting.Value[:min(12, len(setting.Value))] + ")"
		}
	}
	return Version
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
