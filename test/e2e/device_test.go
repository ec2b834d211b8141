//go:build e2e

package e2e

import (
	"context"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// device is a disk of the device mapper, which can be taken away.
type device struct {
	w    *world
	loop string
}

const deviceTable = "0 524288 "

// newDevice makes /dev/mapper/failing.
func (w *world) newDevice() device {
	w.t.Helper()
	w.pipe("modprobe -a loop dm-mod && truncate -s 256M /tmp/failing.img")
	out, err := w.c.Output(w.ctx, "losetup", "-f", "--show", "/tmp/failing.img")
	require.NoError(w.t, err)
	d := device{w, strings.TrimSpace(out)}
	w.pipe("dmsetup create failing --table '" + deviceTable + "linear " + d.loop + " 0'")
	w.pipe("udevadm wait --timeout=60 /dev/mapper/failing")
	return d
}

// hang lets no I/O come to an end.
func (d device) hang() { d.w.pipe("dmsetup suspend --noflush --nolockfs failing") }

// fail ends a hang: all I/O fails.
func (d device) fail() {
	d.w.pipe("dmsetup load failing --table '" + deviceTable + "error' && dmsetup resume --noflush failing")
}

// mend gives the device back.
func (d device) mend() {
	d.hang()
	d.w.pipe("dmsetup load failing --table '" + deviceTable + "linear " + d.loop + " 0' && dmsetup resume failing")
}

// remove removes the pool and the device, whatever became of them.
func (d device) remove(pool string) {
	var cancel context.CancelFunc
	d.w.ctx, cancel = context.WithTimeout(context.Background(), time.Minute) // the test's own is over
	defer cancel()
	d.mend()
	d.w.pipe("zpool clear " + pool + "; zpool destroy -f " + pool + " && dmsetup remove failing && losetup -d " + d.loop + " && rm /tmp/failing.img")
}
