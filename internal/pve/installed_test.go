package pve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Installed must look for the name /etc/pve, and not at the file system that is mounted there,
// because a process that looks at the file system waits for pmxcfs. In this test, /etc/pve is a
// symbolic link whose target does not exist, so a function that follows the link finds nothing.
func TestInstalledLooksAtTheNameAlone(t *testing.T) {
	h := Host{Etc: filepath.Join(t.TempDir(), "pve")}
	assert.False(t, h.Installed())
	require.NoError(t, os.Symlink("/nonexistent/pve", h.Etc))
	assert.True(t, h.Installed())
	assert.False(t, Host{Etc: "/nonexistent/etc/pve"}.Installed())
	assert.True(t, Host{Etc: "/proc/self/exe/pve"}.Installed(), "what cannot be read may be there")
}
