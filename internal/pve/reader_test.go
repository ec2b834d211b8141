package pve

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withReader returns h with a Reader, so that a separate process reads Proxmox's files.
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
	require.ErrorContains(t, err, "echo abc: the answer has an unexpected form")
	require.Error(t, Answer(strings.NewReader("{}{"), &brokenWriter{}))
	require.Error(t, Answer(strings.NewReader(""), &bytes.Buffer{}))
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

// If the process that reads Proxmox's files hangs, this process waits until its timeout, and then
// gets an error.
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

// A process that hangs in the kernel while it reads Proxmox's files cannot be killed. However many
// callers want to read Proxmox's files, at most one reading process runs at a time. While this
// reading process hangs, no second reading process starts.
func TestOneReaderHangs(t *testing.T) {
	h := testHost(t)
	require.NoError(t, os.MkdirAll(h.Lock, 0o755))
	begun, living := filepath.Join(h.Lock, "begun"), filepath.Join(h.Lock, "living")
	h.Reader = []string{"sh", "-c", fmt.Sprintf("echo begun >>%s; setsid sh -c 'echo $$ >%s; exec sleep 60' & wait", begun, living)}
	readers := func() int {
		text, err := os.ReadFile(begun)
		require.NoError(t, err)
		return strings.Count(string(text), "begun")
	}
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := h.ask(ctx, question{What: "owners"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return err
	}
	require.NotContains(t, ask().Error(), "before this one")
	for range 3 {
		require.ErrorContains(t, ask(), "the reader before this one still hangs")
	}
	assert.Equal(t, 1, readers())
	end := func() {
		text, err := os.ReadFile(living)
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	end()
	require.NotContains(t, ask().Error(), "before this one")
	assert.Equal(t, 2, readers())
	end()
}
