package scan

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// memoryTaken returns the memory, in bytes, that this process has got from the operating system.
func memoryTaken() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// A scan reads a list of a million snapshots as a stream, and does not keep the list in memory.
func TestScanOfAMillionSnapshots(t *testing.T) {
	const limit = 64 << 20
	w := zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}, NoPrevsnap: true}
	for i := range 10 {
		d := disk("tank/vm-10"+string(rune('0'+i))+"-disk-0", uint64(i+2), snapshot(hourly, 1), snapshot(foreign, 2))
		d.Many = 100_000
		w.Datasets = append(w.Datasets, d)
	}
	s := scanner(zfstest.New(t, w))
	runtime.GC()
	debug.FreeOSMemory()

	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				peak.Store(max(peak.Load(), memoryTaken()))
			case <-stop:
				return
			}
		}
	}()
	p := scan(t, s)
	close(stop)
	<-stopped
	require.Empty(t, p.Problem)
	require.Len(t, p.Disks, 10)
	for _, d := range p.Disks {
		require.Equal(t, hourly, d.Newest.Name)
		require.Equal(t, foreign, d.NewestOfAny)
	}
	assert.Positive(t, peak.Load())
	assert.Less(t, peak.Load(), uint64(limit))
	t.Logf("%d MiB at most", peak.Load()>>20)
}
