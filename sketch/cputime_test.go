package sketch

import (
	"syscall"
	"testing"
)

// cpuPerOp reports the processor time of an operation beside the time that
// passed: on a machine that others use too it is the number to compare.
func cpuPerOp(b *testing.B) func() {
	before := cpuNanos()
	return func() { b.ReportMetric(float64(cpuNanos()-before)/float64(b.N), "cpu-ns/op") }
}

func cpuNanos() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
