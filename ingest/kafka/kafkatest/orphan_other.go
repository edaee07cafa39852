//go:build !linux

package kafkatest

import "os/exec"

// EndWithParent does nothing here: only Linux ends a process with its parent.
func EndWithParent(*exec.Cmd) {}
