package tfgo

import (
	"fmt"

	tf "github.com/wamuir/graft/tensorflow"
)

// Device is what TensorFlow can compute on.
type Device struct {
	Name   string // such as /job:localhost/replica:0/task:0/device:CPU:0
	Type   string // CPU or GPU
	Memory int64  // bytes that TensorFlow will use at most
}

// Devices lists the devices of this process.
func Devices() ([]Device, error) {
	if _, err := Load(); err != nil {
		return nil, err
	}
	var session *tf.Session
	err := startingThreads(func() (err error) {
		session, err = tf.NewSession(tf.NewGraph(), nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer session.Close()
	found, err := session.ListDevices()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	devices := make([]Device, len(found))
	for i, d := range found {
		devices[i] = Device{Name: d.Name, Type: d.Type, Memory: d.MemoryLimitBytes}
	}
	return devices, nil
}
