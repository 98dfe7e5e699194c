package savedmodel

import (
	"fmt"
	"os"
	"strings"
)

// alias returns another path of a folder in which there is none of the
// characters that TensorFlow takes for a pattern when it restores variables
// (RestoreV2 looks for files by GetMatchingPaths). It is good until close is
// called.
func alias(dir string) (path string, close func(), err error) {
	if !strings.ContainsAny(dir, `*?[]\`) {
		return dir, func() {}, nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), func() { folder.Close() }, nil
}
