//go:build unix

package main

import (
	"os"
	"syscall"
)

// maxRSS is the peak memory of a process that has ended, in bytes as Linux
// counts (KiB).
func maxRSS(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}
