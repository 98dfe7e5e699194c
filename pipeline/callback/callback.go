// Package callback watches training runs.
//
// # Basics
//
// Each type here is a pipeline.Callback, useful as it is:
//
//	_, err := pipeline.Fit(ctx, model, data, pipeline.Options{Callbacks: []pipeline.Callback{
//		&callback.Progress{},
//		&callback.CSV{Dir: dir},
//		&callback.Curve{Path: filepath.Join(dir, "plots", "training.png")},
//	}})
//
// Progress shows a person how far the run is, CSV writes its figures for
// programs, Curve draws them, TensorBoard and WandB write them for the
// programs of these names. Tolerant keeps one that fails from ending the run:
//
//	&callback.Tolerant{Callback: &callback.TensorBoard{Dir: dir}, Warn: func(err error) { log.Print(err) }}
//
// Meter is no callback: it shows how far other work is, as Progress would.
//
// # Caveats
//
// A callback watches one run: make a new one for the next. None of them may be
// used by two goroutines at once; Fit does not.
package callback

import "errors"

// errNoBegin says that a callback was used without Fit, and in a wrong order.
var errNoBegin = errors.New("a run begins with a pipeline.Begin event, which there was none of")
