//go:build drill

package nbd

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// QEMU reads and writes a disk that is served, and no other.
func TestServe(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	content := append(bytes.Repeat([]byte{7}, 1<<20), make([]byte, 3<<20)...)
	require.NoError(t, os.WriteFile(disk, content, 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	go func() { _ = Serve(l, map[string]string{"zd16": disk}) }()
	io := func(name string, commands ...string) (string, error) {
		argv := []string{"-f", "raw"}
		for _, c := range commands {
			argv = append(argv, "-c", c)
		}
		out, err := exec.CommandContext(t.Context(), "qemu-io", append(argv, "nbd://"+l.Addr().String()+"/"+name)...).CombinedOutput()
		return string(out), err
	}
	out, err := io("zd16", "length", "read -P 7 0 1M", "write -P 9 2M 64k", "flush", "read -P 9 2M 64k")
	require.NoError(t, err, out)
	assert.Contains(t, out, "4 MiB")
	assert.NotContains(t, out, "failed")
	out, err = io("zd32", "read 0 512")
	assert.Error(t, err, out)
	copy(content[2<<20:], bytes.Repeat([]byte{9}, 64<<10))
	now, err := os.ReadFile(disk)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, now))
}
