// Package tfgo runs TensorFlow graphs through its C library.
//
// # Basics
//
// LoadSavedModel opens a directory as a Session; Session.Run feeds tensors by
// name and fetches others:
//
//	session, err := tfgo.LoadSavedModel("models/resnet50", tfgo.Options{})
//	defer session.Close()
//	out, err := session.Run(ctx, tfgo.Feeds{"train_images:0": images}, []string{"StatefulPartitionedCall:0"}, nil)
//
// The C library is loaded at run time, by the first call that needs it: a
// program starts, and prints its help, where there is none. Load says which
// library was found.
//
// # Caveats
//
// TensorFlow ends the process when one of its own checks fails, and cannot be
// interrupted: check names, types and shapes before a call, as package
// savedmodel does. Threads are the process's, not the session's: the first
// session's Options decide.
//
// Unless TF_CPP_MIN_LOG_LEVEL is set, loading the library sets it to 3, for this
// process and its children, and catches standard error, and SIGABRT to show what was
// caught, for the moment that it takes, to leave out TensorFlow's log. So does loading
// the first model.
//
// This is the only package of residual that imports graft's bindings or C.
// Building it needs TensorFlow's headers (CGO_CFLAGS=-I…/tensorflow/include,
// which `residual doctor --env` prints), but no library. Linux on amd64 only.
package tfgo
