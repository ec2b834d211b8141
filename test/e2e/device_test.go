//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// device is a disk of the device mapper, which can be taken away.
type device struct {
	w                   *world
	name, sectors, loop string
}

// newDevice makes /dev/mapper/NAME, of so many MiB. target is the device mapper's, with %s
// for the disk that it lies on.
func (w *world) newDevice(name string, mib int, target string) device {
	w.t.Helper()
	d := device{w: w, name: name, sectors: strconv.Itoa(mib << 11)}
	w.pipe(fmt.Sprintf("modprobe -a loop dm-mod && truncate -s %dM %s", mib, d.file()))
	out, err := w.c.Output(w.ctx, "losetup", "-f", "--show", d.file())
	require.NoError(w.t, err)
	d.loop = strings.TrimSpace(out)
	w.pipe("dmsetup create " + name + " --table '" + d.table(target) + "'")
	w.pipe("udevadm wait --timeout=60 /dev/mapper/" + name)
	return d
}

// sound is the target of a device that is well.
const sound = "linear %s 0"

func (d device) file() string { return "/tmp/" + d.name + ".img" }

func (d device) table(target string) string {
	return "0 " + d.sectors + " " + strings.ReplaceAll(target, "%s", d.loop)
}

// hang lets no I/O come to an end.
func (d device) hang() { d.w.pipe("dmsetup suspend --noflush --nolockfs " + d.name) }

// fail ends a hang: all I/O fails.
func (d device) fail() {
	d.w.pipe("dmsetup load " + d.name + " --table '" + d.table("error") + "' && dmsetup resume --noflush " + d.name)
}

// mend gives the device back.
func (d device) mend() {
	d.hang()
	d.w.pipe("dmsetup load " + d.name + " --table '" + d.table(sound) + "' && dmsetup resume " + d.name)
}

// remove removes the pool and the device, whatever became of them.
func (d device) remove(pool string) {
	d.free(func() string {
		d.mend()
		return "{ zpool clear " + pool + "; zpool destroy -f " + pool + "; }"
	})
}

// detach takes the device out of the pool, which has another, and removes it.
func (d device) detach(pool string) {
	d.free(func() string { return "zpool detach " + pool + " /dev/mapper/" + d.name })
}

// free removes the device when the pool does without it, by the command returned.
func (d device) free(without func() string) {
	var cancel context.CancelFunc
	d.w.ctx, cancel = context.WithTimeout(context.Background(), time.Minute) // the test's own is over
	defer cancel()
	d.w.pipe(without() + " && dmsetup remove --retry " + d.name + " && losetup -d " + d.loop + " && rm " + d.file())
}
