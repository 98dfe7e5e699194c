package savedmodel

import (
	"context"
	"fmt"

	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Profile calls a signature and returns the times of all operations that it ran.
func (m *Model) Profile(ctx context.Context, name string, inputs map[string]tensor.Tensor) ([]tfgo.OpTime, error) {
	call, err := m.prepare(ctx, name, inputs)
	if err != nil {
		return nil, fmt.Errorf("profile signature %q: %w", name, err)
	}
	return call.session.Profile(ctx, call.feeds, call.fetches)
}
