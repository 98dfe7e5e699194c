package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/residual-go/residual/internal/disk"
)

// lock waits until this process alone holds the file.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		held, _, err := disk.TryLock(path, fmt.Sprintf("process %d", os.Getpid()))
		if err == nil {
			return func() { held.Close() }, nil
		}
		if !errors.Is(err, disk.ErrLocked) {
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
