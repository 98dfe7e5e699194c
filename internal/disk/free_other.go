//go:build !unix

package disk

import "math"

// Free returns the bytes that can be written below a folder, which nobody knows
// here.
func Free(string) (int64, error) { return math.MaxInt64, nil }
