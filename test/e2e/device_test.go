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

// device is a disk of the device mapper that tests can make hang or fail.
type device struct {
	w                   *world
	name, sectors, loop string
}

// newDevice creates /dev/mapper/NAME with the given size in MiB. The argument target is the device
// mapper's target, with %s in place of the underlying disk.
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

// sound is the device mapper's target for a device that works.
const sound = "linear %s 0"

func (d device) file() string { return "/tmp/" + d.name + ".img" }

func (d device) table(target string) string {
	return "0 " + d.sectors + " " + strings.ReplaceAll(target, "%s", d.loop)
}

// hang makes all I/O of the device wait.
func (d device) hang() { d.w.pipe("dmsetup suspend --noflush --nolockfs " + d.name) }

// fail makes all I/O of the device fail, including I/O that waits because of an earlier call of the
// method hang.
func (d device) fail() {
	d.w.pipe("dmsetup load " + d.name + " --table '" + d.table("error") + "' && dmsetup resume --noflush " + d.name)
}

// mend makes the device work again.
func (d device) mend() {
	d.hang()
	d.w.pipe("dmsetup load " + d.name + " --table '" + d.table(sound) + "' && dmsetup resume " + d.name)
}

// remove destroys the pool and removes the device, whatever the state of pool and device is.
func (d device) remove(pool string) {
	d.detachDevice(func() string {
		d.mend()
		return "{ zpool clear " + pool + "; zpool destroy -f " + pool + "; }"
	})
}

// detach detaches the device from a pool that also has a second device, and then removes the
// detached device.
func (d device) detach(pool string) {
	d.detachDevice(func() string { return "zpool detach " + pool + " /dev/mapper/" + d.name })
}

// detachDevice runs a command line after which the pool no longer uses the device, and then removes
// the device. The argument `without` is a function that returns this command line.
func (d device) detachDevice(without func() string) {
	var cancel context.CancelFunc
	d.w.ctx, cancel = context.WithTimeout(context.Background(), time.Minute) // the test's own context has ended
	defer cancel()
	d.w.pipe(without() + " && dmsetup remove --retry " + d.name + " && losetup -d " + d.loop + " && rm " + d.file())
}
