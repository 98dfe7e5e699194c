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
// programs, Curve draws them.
//
// # Caveats
//
// A callback watches one run: make a new one for the next. None of them may be
// used by two goroutines at once; Fit does not.
package callback
