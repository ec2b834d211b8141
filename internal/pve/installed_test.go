package pve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whether Proxmox is there is asked of the directory above: what looks at the mount itself
// waits for pmxcfs. Here it leads nowhere, and who looks at it finds nothing.
func TestInstalledLooksAtTheNameAlone(t *testing.T) {
	h := Host{Etc: filepath.Join(t.TempDir(), "pve")}
	assert.False(t, h.Installed())
	require.NoError(t, os.Symlink("/nonexistent/pve", h.Etc))
	assert.True(t, h.Installed())
	assert.False(t, Host{Etc: "/nonexistent/etc/pve"}.Installed())
	assert.True(t, Host{Etc: "/proc/self/exe/pve"}.Installed(), "what cannot be read may be there")
}
