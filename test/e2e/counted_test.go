//go:build e2e && counted

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Tests named TestCounted… compare times. A test named TestCounted… needs a machine whose clock
// counts instructions, so that other programs on this host do not change the measured times: make
// test-counted.

// TestCountedFreeze: ten containers are frozen for less than twice as long as one container, on a
// disk that needs 5 ms for a write. The lab's own disks need no time for a write, unlike real ones;
// on the lab's disks, the test would measure only the work of ZFS for each snapshot.
func TestCountedFreeze(t *testing.T) {
	w := newWorld(t)
	w.slowDisk("ta", 5*time.Millisecond)
	w.boxes(201, 210)
	// The test compares medians, because the duration of a freeze also depends on the moment at
	// which the freeze begins within a transaction group.
	var ones, tens []float64
	for range 5 {
		w.advanceClock(15 * time.Minute)
		ones = append(ones, w.holdGroup(201, 201))
		w.advanceClock(15 * time.Minute)
		tens = append(tens, w.holdGroup(201, 210))
	}
	slices.Sort(ones)
	slices.Sort(tens)
	one, ten := ones[len(ones)/2], tens[len(tens)/2]
	t.Logf("frozen for seconds: one %.3f, ten %.3f; %.2f times as long", ones, tens, ten/one)
	assert.Less(t, ten, 2*one)
}

// slowDisk attaches a second disk to the pool, as a mirror; each write to the second disk takes the
// given time.
func (w *world) slowDisk(pool string, write time.Duration) {
	w.t.Helper()
	w.pipe("modprobe dm-delay")
	slow := w.newDevice("slow", 512, fmt.Sprintf("delay %%s 0 0 %%s 0 %d", write.Milliseconds()))
	w.pipe("zpool attach -w " + pool + " /tmp/" + pool + ".vdev /dev/mapper/slow")
	w.t.Cleanup(func() { slow.detach(pool) })
}
