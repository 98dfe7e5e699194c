package tfgo

// #include <malloc.h>
import "C"

import "runtime/debug"

// FreeMemory gives memory back to the system that Go's collector and C's malloc
// keep for later: after something that took several copies of a model's weights, a
// third of a gigabyte. It takes a tenth of a second.
func FreeMemory() {
	debug.FreeOSMemory()
	C.malloc_trim(0)
}
