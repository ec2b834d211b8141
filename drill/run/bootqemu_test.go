//go:build drill

package run

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guestInit is the first process of the small guest. If the guest's disk has the right content, the
// guest answers as QEMU's guest agent does; otherwise the guest's process ends.
const guestInit = `#!/bin/busybox sh
busybox mkdir -p /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t sysfs sys /sys
while read -r module; do busybox insmod "$module"; done </modules/order
[ "$(busybox head -c 9 /dev/vda)" = snapwatch ] || busybox reboot -f
echo 'the guest is up' >/dev/ttyS0
until [ "$agent" ]; do # the kernel finds the ports after the module is there
	for port in /sys/class/virtio-ports/*; do
		[ ! -e $port/name ] || [ "$(busybox cat $port/name)" != org.qemu.guest_agent.0 ] || agent=/dev/${port##*/}
	done
done
busybox dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null
exec <>$agent >&0
while read -r line; do echo '{"return": {}}'; done
`

// archive returns an archive with one file, in the form in which the kernel unpacks it over the
// files of the archive before it.
func archive(name, text string) []byte {
	var b bytes.Buffer
	for i, f := range [][2]string{{name, text}, {"TRAILER!!!", ""}} {
		mode := 0o100755 * (1 - i)
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", i+1, mode, 0, 0, 1, 0, len(f[1]), 0, 0, 0, 0, len(f[0])+1, 0, f[0])
		pad := func() { b.Write(make([]byte, (4-b.Len()%4)%4)) }
		pad()
		b.WriteString(f[1])
		pad()
	}
	return b.Bytes()
}

// TestBootByQEMU: the shipped program starts a small guest, with the kernel of the lab's machine,
// and hears its agent, or its console. The guest writes to its disk, and the clone stays as it is.
// A guest that ends by itself did not start.
func TestBootByQEMU(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), lookTime)
	defer cancel()
	image := strings.TrimSpace(program(ctx, t, "", "../../test/lab/build"))
	lines := strings.Split(image, "\n")
	image = lines[len(lines)-1]
	dir := t.TempDir()
	initrd, err := os.ReadFile(filepath.Join(image, "initrd.img"))
	require.NoError(t, err)
	files := map[string]string{
		"initrd": string(initrd) + string(make([]byte, (512-len(initrd)%512)%512)) + string(archive("init", guestInit)),
		"config": "memory: 256\nvirtio0: z:vm-100-disk-0,size=1M\n[old]\nmemory: 999999\n",
		"disk":   "snapwatch" + strings.Repeat("\x00", 1<<20-9), "other": strings.Repeat("\x00", 1<<20),
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	q := QEMU{
		Config: filepath.Join(dir, "config"), Devices: map[string]string{"vm-100-disk-0": filepath.Join(dir, "disk")},
		Args: []string{"-machine", "accel=tcg", "-cpu", "qemu64,-cx16", "-kernel", filepath.Join(image, "vmlinux"), "-initrd", filepath.Join(dir, "initrd"), "-append", "console=ttyS0 quiet panic=-1"},
	}
	begun := time.Now()
	by, err := q.Boot(ctx)
	require.NoError(t, err)
	t.Logf("%s after %s", by, time.Since(begun))
	assert.Equal(t, "its agent answers", by)
	disk, err := os.ReadFile(filepath.Join(dir, "disk"))
	require.NoError(t, err)
	assert.Equal(t, files["disk"], string(disk))

	q.Console = "the guest is up"
	by, err = q.Boot(ctx)
	require.NoError(t, err)
	assert.Contains(t, []string{`"the guest is up" is on its console`, "its agent answers"}, by)

	q.Devices["vm-100-disk-0"] = filepath.Join(dir, "other")
	_, err = q.Boot(ctx)
	require.EqualError(t, err, "the guest ended, or began again, before it answered")

	q.Args = []string{"-no-such-word"}
	_, err = q.Boot(ctx)
	require.ErrorIs(t, err, ErrNotTried)
}
