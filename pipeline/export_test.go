package pipeline

import "time"

// CallsOf sets how long a call should be until restore is called.
func CallsOf(time time.Duration) (restore func()) {
	before := callTime
	callTime = time
	return func() { callTime = before }
}

// StepsIn is stepsIn.
var StepsIn = stepsIn
