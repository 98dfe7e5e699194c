package callback

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// metadataName is the file from which W&B's run page has its system
// information.
const metadataName = "wandb-metadata.json"

// writeMetadata tells of machine and command under the names that W&B uses
// (EnvironmentRecord in wandb/proto/wandb_internal.proto), and of Go.
func writeMetadata(path string, began time.Time) error {
	host, _ := os.Hostname()
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	metadata := map[string]any{
		"os":                systemName(),
		"go":                runtime.Version(),
		"host":              host,
		"program":           program,
		"executable":        program,
		"args":              append([]string{}, os.Args[1:]...),
		"startedAt":         began.UTC().Format(time.RFC3339Nano),
		"cpu_count":         runtime.NumCPU(),
		"cpu_count_logical": runtime.NumCPU(),
	}
	if root, err := os.Getwd(); err == nil {
		metadata["root"] = root
	}
	if total := memory(); total > 0 {
		metadata["memory"] = map[string]string{"total": strconv.FormatUint(total, 10)}
	}
	data, err := json.MarshalIndent(metadata, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write W&B metadata: %w", err)
	}
	return nil
}

// systemName says, for example, Linux-6.1.0-amd64.
func systemName() string {
	name := strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		name += "-" + strings.TrimSpace(string(release))
	}
	return name + "-" + runtime.GOARCH
}

// memory returns the machine's bytes of memory; 0 where nothing says so.
func memory() uint64 {
	data, _ := os.ReadFile("/proc/meminfo")
	var kilobytes uint64
	if _, err := fmt.Sscanf(string(data), "MemTotal: %d kB", &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}

// savePicture writes a PNG below a run's files, and returns its path there and
// what a row of history says of it.
func savePicture(files, key string, step int, picture []byte) (name string, value map[string]any, err error) {
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return "", nil, fmt.Errorf("write W&B picture %q: %w", key, err)
	}
	hash := sha256.Sum256(picture)
	sum := hex.EncodeToString(hash[:])
	name = path.Join("media", "images", fmt.Sprintf("%s_%d_%s.png", key, step, sum[:20]))
	file := filepath.Join(files, filepath.FromSlash(name))
	if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
		err = os.WriteFile(file, picture, 0o644)
	}
	if err != nil {
		return "", nil, fmt.Errorf("write W&B picture: %w", err)
	}
	return name, map[string]any{
		"_type": "image-file", "path": name, "sha256": sum, "size": len(picture),
		"width": config.Width, "height": config.Height, "format": "png",
	}, nil
}
