package pve

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnersAreReadWithoutReadingConfigurations(t *testing.T) {
	h := testHost(t)
	require.NoError(t, os.MkdirAll(h.Etc+"/nodes/pve1", 0o755))
	require.NoError(t, os.Symlink("nodes/pve1", h.Etc+"/local"))
	// In this test, a directory named 100.conf plays a guest's configuration file that this user
	// may not read.
	require.NoError(t, os.MkdirAll(h.Etc+"/nodes/pve1/qemu-server/100.conf", 0o755))
	require.NoError(t, os.MkdirAll(h.Etc+"/nodes/pve2/lxc/101.conf", 0o755))
	write(t, h.Etc+"/nodes/pve2/qemu-server/102.conf.tmp", "")
	write(t, h.Etc+"/nodes/pve2/qemu-server/x.conf", "")
	for _, none := range []string{"0103.conf", "+104.conf", "-5.conf", "0.conf", "1000000000.conf"} { // Proxmox does not accept these file names as configurations
		write(t, h.Etc+"/nodes/pve2/qemu-server/"+none, "")
	}
	o, err := h.Owners()
	require.NoError(t, err)
	assert.Equal(t, Owners{Node: "pve1", Of: map[int]string{100: "pve1", 101: "pve2"}}, o)
}

func TestOwnersAreUnknownElsewhere(t *testing.T) {
	h := testHost(t)
	_, err := h.Owners()
	assert.ErrorIs(t, err, ErrNotPVE)
	require.NoError(t, os.MkdirAll(h.Etc, 0o755))
	require.NoError(t, os.Symlink("nodes/pve1", h.Etc+"/local"))
	_, err = h.Owners()
	assert.ErrorIs(t, err, os.ErrNotExist, "a file system that is not mounted has no nodes")
	write(t, h.Etc+"/nodes/pve1/lxc", "no directory")
	_, err = h.Owners()
	assert.Error(t, err, "what cannot be read is not empty")
}
