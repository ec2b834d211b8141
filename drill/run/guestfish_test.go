//go:build drill

package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lookTime is the longest time of a look. An appliance without KVM on a busy machine needs minutes.
const lookTime = 80 * time.Minute

// appliance makes guestfish emulate the appliance's processor if this machine has none that KVM can
// use. QEMU would end where /dev/kvm exists and does not work.
func appliance(t *testing.T) context.Context {
	t.Helper()
	processors, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	if !strings.Contains(string(processors), "vmx") && !strings.Contains(string(processors), "svm") {
		t.Setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
	}
	ctx, cancel := context.WithTimeout(t.Context(), lookTime)
	t.Cleanup(cancel)
	return ctx
}

// program runs a program with an input, and returns its output.
func program(ctx context.Context, t *testing.T, input string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%v: %s", argv, out)
	return string(out)
}

// ext4 makes an image with an ext4 on the whole disk, which holds a Linux system.
func ext4(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	system := tree(t, map[string]string{
		"etc/os-release": "ID=debian\nVERSION_ID=13\nPRETTY_NAME=\"Lab Linux 7\"\n", "etc/fstab": "/dev/sda / ext4 defaults 0 1\n", "etc/hostname": "lab\n",
		"etc/debian_version": "13.0\n", "bin/sh": "#!\n", "lib/modules/x": "x", "usr/bin/x": "x", "var/log/x": "x", "sbin/init": "x", "boot/x": "x", "home/x": "x",
	})
	program(ctx, t, "", "mkfs.ext4", "-q", "-F", "-d", system, path, "64M")
}

// TestLookByGuestfish: the real guestfish looks at images of disks with an ext4, and an xfs inside of
// LVM.
func TestLookByGuestfish(t *testing.T) {
	ctx := appliance(t)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	ext4(ctx, t, first)
	program(ctx, t, "", "truncate", "-s", "400M", second)
	begun := time.Now()
	program(ctx, t, fmt.Sprintf("set-backend direct\nadd-drive %q format:raw\nrun\npart-disk /dev/sda gpt\npvcreate /dev/sda1\nvgcreate vg0 /dev/sda1\nlvcreate data vg0 320\nmkfs xfs /dev/vg0/data\n", second), guestfish)
	t.Logf("one start of the appliance: %s", time.Since(begun))

	begun = time.Now()
	sight, err := Local{}.Look(ctx, nil, []string{first, second})
	require.NoError(t, err)
	t.Logf("a look at two disks: %s: %+v", time.Since(begun), sight)
	assert.Empty(t, sight.Wrong)
	assert.Equal(t, 2, sight.FileSystems)
	assert.Equal(t, []string{"13.0"}, sight.Remarks, "of a Debian, libguestfs knows the version")
}

// TestGuestfishFindsAFault: the real guestfish finds an ext4 with a fault.
func TestGuestfishFindsAFault(t *testing.T) {
	ctx := appliance(t)
	broken := filepath.Join(t.TempDir(), "broken")
	ext4(ctx, t, broken)
	program(ctx, t, "", "debugfs", "-w", "-R", "clri /etc/hostname", broken) // its name stays in its directory
	begun := time.Now()
	sight, err := Local{}.Look(ctx, nil, []string{broken})
	require.NoError(t, err)
	t.Logf("a look at a broken disk: %s: %+v", time.Since(begun), sight)
	require.Len(t, sight.Wrong, 1)
	assert.Regexp(t, `^checking /dev/sda \(ext4\): the checker found faults \(exit status \d+\)$`, sight.Wrong[0])
}
