package lock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func turn(t *testing.T, dir string, timeout time.Duration) (Turn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return WaitTurn(ctx, dir, "list", taken)
}

// A lock that any user can hold must not prevent the work of another user, but two processes of one
// user must not do the same work at the same time.
func TestTurn(t *testing.T) {
	dir := t.TempDir()
	one, err := turn(t, dir, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, one.Note)
	assert.Len(t, one.Files(), 2)
	own := fmt.Sprintf("list@%d.lock", os.Geteuid())
	for name, mode := range map[string]os.FileMode{"list.lock": 0o644, own: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode(), name)
	}
	_, err = turn(t, dir, 300*time.Millisecond)
	assert.Equal(t, filepath.Join(dir, own), busy(t, err).Path)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	one.Release()

	other, err := tryExclusive(filepath.Join(dir, "list.lock"), shared, taken)
	require.NoError(t, err)
	began := time.Now()
	two, err := turn(t, dir, 2*time.Second)
	require.NoError(t, err)
	assert.InDelta(t, 1, time.Since(began).Seconds(), 0.7)
	assert.Equal(t, fmt.Sprintf("%s/list.lock is locked by process %d since %s: not waited for", dir, os.Getpid(), taken.Local().Format(time.DateTime)), two.Note)
	assert.Len(t, two.Files(), 1)
	two.Release()
	require.NoError(t, os.Remove(filepath.Join(dir, own))) // without this, no process would wait for the lock for the next minute
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = other.Release()
	}()
	three, err := turn(t, dir, time.Minute)
	require.NoError(t, err)
	assert.Empty(t, three.Note, "who ends soon is waited for")
	three.Release()
}

// If another user holds the shared lock for ever, only one of several processes that start together
// waits for this lock.
func TestOneWaitsInVain(t *testing.T) {
	dir := t.TempDir()
	other, err := tryExclusive(filepath.Join(dir, "list.lock"), shared, taken)
	require.NoError(t, err)
	began := time.Now()
	notes := make(chan string)
	for range 6 {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			got, err := WaitTurn(ctx, dir, "list", taken)
			if err != nil {
				notes <- "kept out: " + err.Error()
				return
			}
			got.Release()
			notes <- got.Note
		}()
	}
	for range 6 {
		assert.Contains(t, <-notes, "not waited for")
	}
	assert.Less(t, time.Since(began), 2900*time.Millisecond)
	held := filepath.Join(dir, fmt.Sprintf("list@%d.lock", os.Geteuid()))
	own, err := TryExclusive(held, taken)
	require.NoError(t, err)
	_, err = TryExclusive(held, taken)
	assert.Equal(t, os.Getpid(), busy(t, err).PID)
	own.note(taken, own.before)
	_, err = TryExclusive(held, taken)
	assert.Equal(t, taken.Unix(), busy(t, err).Since.Unix(), "who holds it stands in the first line")
	require.NoError(t, own.Release())
	// Another user held the shared lock for so long that one process waited in vain. After such a
	// wait, the next processes do not wait for the shared lock until vainFor is over. Once the
	// other user has released the shared lock, a process gets its turn without a note.
	require.NoError(t, other.Release())
	free, err := turn(t, dir, time.Second)
	require.NoError(t, err)
	assert.Empty(t, free.Note)
	free.Release()
	text, err := os.ReadFile(held)
	require.NoError(t, err)
	assert.NotContains(t, string(text), vain)
	_, again := (&Lock{before: fmt.Sprintf("1 1\n%s%d\n", vain, taken.Add(-2*time.Minute).Unix())}).waitedInVain(taken)
	assert.False(t, again)
}

// A second user may put any object in the place of a lock file, such as a pipe. No process hangs
// because of an object that is not a regular file, and every process can do its work.
func TestTurnWithout(t *testing.T) {
	own := fmt.Sprintf("list@%d.lock", os.Geteuid())
	for name, test := range map[string]struct {
		spoil func(path string) error
		said  string
	}{
		"pipe":      {func(path string) error { return syscall.Mkfifo(path, 0o666) }, "it is not a regular file: remove it"},
		"link":      {func(path string) error { return os.Symlink("/etc/passwd", path) }, "too many levels of symbolic links"},
		"directory": {func(path string) error { return os.Mkdir(path, 0o777) }, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, test.spoil(filepath.Join(dir, own)))
			got, err := turn(t, dir, time.Minute)
			require.NoError(t, err)
			assert.Contains(t, got.Note, test.said+": other listings may run at the same time")
			assert.Len(t, got.Files(), 1)
			got.Release()
			require.NoError(t, os.Remove(filepath.Join(dir, "list.lock")))
			require.NoError(t, test.spoil(filepath.Join(dir, "list.lock")))
			got, err = turn(t, dir, time.Minute)
			require.NoError(t, err)
			assert.Contains(t, got.Note, test.said)
			assert.Contains(t, got.Note, ": not waited for")
			assert.Empty(t, got.Files())
			got.Release()
		})
	}
	got, err := turn(t, filepath.Join(t.TempDir(), "nowhere"), time.Minute)
	require.NoError(t, err)
	assert.Contains(t, got.Note, "no such file or directory: not waited for")
	if os.Geteuid() != 0 {
		return
	}
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, own))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Chown(65534, 65534))
	require.NoError(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	got, err = turn(t, dir, time.Minute)
	require.NoError(t, err)
	assert.Contains(t, got.Note, "it belongs to user 65534: remove it")
}
