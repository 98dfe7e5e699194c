package pipeline

// Metrics are means over examples.
type Metrics struct {
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"` // share of examples, 0 to 1
	Correct  int     `json:"correct"`
	Examples int     `json:"examples"`
}

// mean collects Metrics batch by batch, each batch weighted by its examples.
type mean struct {
	lossSum           float64
	correct, examples int
}

func (m *mean) add(lossSum float64, correct, examples int) {
	m.lossSum += lossSum
	m.correct += correct
	m.examples += examples
}

func (m *mean) metrics() Metrics {
	if m.examples == 0 {
		return Metrics{}
	}
	n := float64(m.examples)
	return Metrics{Loss: m.lossSum / n, Accuracy: float64(m.correct) / n, Correct: m.correct, Examples: m.examples}
}
