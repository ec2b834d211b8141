package pve

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withReader has the files read by another process.
func withReader(t *testing.T, h Host) Host {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "reader")
	require.NoError(t, os.Symlink(self, name))
	h.Reader = []string{name}
	return h
}

func TestAnotherProcessReadsTheSame(t *testing.T) {
	h := testCluster(t)
	write(t, h.Etc+"/nodes/pve1/qemu-server/102.conf", "lock: backup\nname: \xff\n scsi0: data:x\n#"+strings.Repeat("x", 3<<20)+"\n")
	write(t, h.Etc+"/ha/resources.cfg", "vm: 100\n")
	want, err := h.Cluster(t.Context())
	require.NoError(t, err)
	other := withReader(t, h)
	got, err := other.Cluster(t.Context())
	require.NoError(t, err)
	for vmid, c := range want.Guests {
		assert.True(t, c.Changed.Equal(got.Guests[vmid].Changed))
		c.Changed = got.Guests[vmid].Changed
		want.Guests[vmid] = c
	}
	assert.Equal(t, want, got)
	owners, err := other.Owners()
	require.NoError(t, err)
	assert.Equal(t, "pve2", owners.Of[200])
	config, err := other.GuestConfig(t.Context(), ID{102, QEMU})
	require.NoError(t, err)
	assert.Equal(t, "backup", config.Lock)
}

func TestAnotherProcessSaysWhatIsWrong(t *testing.T) {
	h := withReader(t, testHost(t))
	_, err := h.Cluster(t.Context())
	require.ErrorIs(t, err, ErrNotPVE)
	_, err = h.Owners()
	require.ErrorIs(t, err, ErrNotPVE)
	h = withReader(t, testCluster(t))
	_, err = h.GuestConfig(t.Context(), ID{109, QEMU})
	require.ErrorIs(t, err, os.ErrNotExist)
	h.Reader = []string{"/nonexistent"}
	_, err = h.Cluster(t.Context())
	require.ErrorContains(t, err, "/nonexistent")
	h.Reader = []string{"echo", "abc"}
	_, err = h.Cluster(t.Context())
	require.ErrorContains(t, err, "echo abc: the answer is not the one expected")
	require.Error(t, Answer(strings.NewReader("{}{"), &brokenWriter{}))
	require.Error(t, Answer(strings.NewReader(""), &bytes.Buffer{}))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

// What hangs is the other process: this one says so, and nothing in it waits.
func TestAnotherProcessHangs(t *testing.T) {
	h := withReader(t, testCluster(t))
	require.NoError(t, os.Remove(h.Etc+"/storage.cfg"))
	require.NoError(t, syscall.Mkfifo(h.Etc+"/storage.cfg", 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := h.Cluster(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "is pmxcfs hung?")
	assert.Less(t, time.Since(begun), 5*time.Second)
}
