// Package cputime lets a benchmark report its processor time. On a busy machine, the elapsed time
// says little about the cost.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Used returns the processor time that this process has used so far, in all its threads.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Report adds the processor time since began, including garbage collection, to the results of the
// benchmark. A benchmark calls Report at its end.
func Report(b *testing.B, began time.Duration) {
	b.Helper()
	b.ReportMetric(float64((Used()-began).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}
