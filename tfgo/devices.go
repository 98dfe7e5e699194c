package tfgo

import (
	"fmt"
	"slices"
)

// Device is what TensorFlow can compute on.
type Device struct {
	Name   string // such as /job:localhost/replica:0/task:0/device:CPU:0
	Type   string // CPU or GPU
	Memory int64  // bytes that TensorFlow will use at most
}

// Devices lists the devices that a session for the target can use.
func Devices(t Target) ([]Device, error) {
	session, err := NewSession(nil, Options{Target: t})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer session.Close()
	return session.Devices()
}

// Devices lists the devices that the session can use.
func (s *Session) Devices() ([]Device, error) {
	found, err := s.session.ListDevices()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	devices := make([]Device, len(found))
	for i, d := range found {
		devices[i] = Device{Name: d.Name, Type: d.Type, Memory: d.MemoryLimitBytes}
	}
	return devices, nil
}

// OnGPU tells whether the session can use a GPU.
func (s *Session) OnGPU() (bool, error) {
	devices, err := s.Devices()
	return slices.ContainsFunc(devices, Device.IsGPU), err
}

// IsGPU tells whether the device is one.
func (d Device) IsGPU() bool { return d.Type == "GPU" }

// checkTarget returns an error if the session has no GPU and must have one.
func (s *Session) checkTarget(t Target) error {
	if !t.NeedsGPU() {
		return nil
	}
	if there, err := s.OnGPU(); err != nil || there {
		return err
	}
	return fmt.Errorf("%w: %s", ErrNoGPU, WhyNoGPU())
}
