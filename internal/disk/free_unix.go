//go:build unix

package disk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Free returns the bytes that can be written below a folder.
func Free(folder string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", folder, err)
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil
}
