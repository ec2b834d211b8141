// Package cputime lets a benchmark tell the processor time that it took. On a
// machine that has other things to do, the time by the clock says little.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Used is the processor time of this process so far, in all its threads.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Report adds the processor time since began to what the benchmark reports, garbage
// collection included. It is called at the benchmark's end.
func Report(b *testing.B, began time.Duration) {
	b.Helper()
	b.ReportMetric(float64((Used()-began).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
}
