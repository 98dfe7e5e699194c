//go:build !unix

package disk

import "os"

// flock does nothing where there is none: there, two processes must not write
// to one place.
func flock(*os.File) error { return nil }
