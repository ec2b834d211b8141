package pve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// RollingBack must return true for an active rollback of the given guest. RollingBack must return
// false for a rollback that has ended, and for a rollback of a different guest.
func TestRollingBack(t *testing.T) {
	h := Host{Tasks: filepath.Join(t.TempDir(), "active")}
	vm := ID{VMID: 100, Kind: QEMU}
	assert.False(t, h.RollingBack(vm), "no task was ever started")
	for line, want := range map[string]bool{
		"UPID:pve1:0000B1A2:0012A3B4:66A1B2C3:qmrollback:100:root@pam: 0":             true,
		"UPID:pve1:0000B1A2:0012A3B4:66A1B2C3:vzrollback:100:root@pam: 1":             true,
		"UPID:pve1:0000B1A2:0012A3B4:66A1B2C3:qmrollback:1000:root@pam: 0":            false,
		"UPID:pve1:0000B1A2:0012A3B4:66A1B2C3:qmstart:100:root@pam: 0":                false,
		"UPID:pve1:0000B1A2:0012A3B4:66A1B2C3:qmrollback:100:root@pam: 1 66A1B2D0 OK": false,
		"":     false,
		"UPID": false,
	} {
		require.NoError(t, os.WriteFile(h.Tasks, []byte("UPID:pve1:1:2:3:vncproxy:100:root@pam: 0\n"+line+"\n"), 0o600))
		assert.Equal(t, want, h.RollingBack(vm), line)
	}
}
