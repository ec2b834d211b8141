package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var taken = time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "holder" {
		_, _ = io.Copy(io.Discard, os.Stdin) // this child holds the lock until its parent closes the pipe
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func busy(t *testing.T, err error) *Busy {
	t.Helper()
	b, ok := errors.AsType[*Busy](err)
	require.True(t, ok, "%v", err)
	return b
}

func TestExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	held, err := TryExclusive(path, taken)
	require.NoError(t, err)
	_, err = TryExclusive(path, taken.Add(time.Hour))
	b := busy(t, err)
	assert.Equal(t, os.Getpid(), b.PID)
	assert.True(t, taken.Equal(b.Since), b.Since)
	assert.EqualError(t, b, fmt.Sprintf("%s is locked by process %d since %s", path, os.Getpid(), taken.Local().Format(time.DateTime)))
	_, err = TryShared(path)
	_ = busy(t, err)
	require.NoError(t, held.Release())
	again, err := TryExclusive(path, taken.Add(time.Hour))
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d %d\n", os.Getpid(), taken.Add(time.Hour).Unix()), string(text))
	require.NoError(t, again.Release())
}

func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	one, err := TryShared(path)
	require.NoError(t, err)
	other, err := TryShared(path)
	require.NoError(t, err)
	_, err = TryExclusive(path, taken)
	b := busy(t, err)
	assert.Zero(t, b.PID)
	assert.EqualError(t, b, path+" is locked by another process")
	require.NoError(t, one.Release())
	require.NoError(t, other.Release())
}

// Any user may have written the text in a lock file, so this text does not prove that a process
// holds the lock. Only an attempt to take the lock shows whether a process holds the lock.
func TestNote(t *testing.T) {
	for _, text := range []string{"", "garbage", "12", "x 1784116020\n", "12 x\n", "12 1784116020 more\n"} {
		path := filepath.Join(t.TempDir(), "x.lock")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o444))
		held, err := TryShared(path)
		require.NoError(t, err)
		_, err = TryExclusive(path, taken)
		assert.Equal(t, &Busy{Path: path}, busy(t, err), "%q", text)
		require.NoError(t, held.Release())
		again, err := TryExclusive(path, taken)
		require.NoError(t, err, "a file that is left behind locks nothing")
		require.NoError(t, again.Release())
	}
}

// A user who can open a lock file can take the lock, and so prevent the work of the lock's owner.
// Therefore only root and the owner of the lock directory can open a private lock file, and a lock
// file that root creates belongs to the directory's owner.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.lock")
	for range 2 {
		held, err := TryExclusive(path, taken)
		require.NoError(t, err)
		require.NoError(t, held.Release())
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode())
		require.NoError(t, os.Chmod(path, 0o644)) // as if a person had created the lock file by hand
	}
	if os.Geteuid() != 0 {
		return
	}
	require.NoError(t, os.Chown(dir, 65534, 65534))
	require.NoError(t, os.Remove(path))
	held, err := TryExclusive(path, taken)
	require.NoError(t, err)
	require.NoError(t, held.Release())
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, 65534, ownerOf(info))
	require.NoError(t, os.Chown(path, 1234, 1234))
	_, err = TryExclusive(path, taken)
	assert.ErrorContains(t, err, "it belongs to user 1234: remove it")
}

// A shared lock file is readable for all, whatever the umask is, because root and a monitoring user
// share the lock.
func TestMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "x.lock")
	held, err := TryShared(path)
	require.NoError(t, err)
	defer func() { _ = held.Release() }()
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode())

	_, err = TryExclusive(filepath.Join(t.TempDir(), "nowhere", "x.lock"), taken)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, isBusy := errors.AsType[*Busy](err)
	assert.False(t, isBusy)
}

// A child that inherited a lock holds the lock until the child ends, even if the parent has
// released the lock.
func TestInherited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	held, err := TryExclusive(path, taken)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(self)
	child.Args[0] = "holder"
	child.ExtraFiles = []*os.File{held.File()}
	end, err := child.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	require.NoError(t, held.Release())
	_, err = TryExclusive(path, taken)
	assert.Equal(t, os.Getpid(), busy(t, err).PID)
	require.NoError(t, end.Close())
	require.NoError(t, child.Wait())
	again, err := TryExclusive(path, taken)
	require.NoError(t, err)
	require.NoError(t, again.Release())
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	held, err := TryExclusive(path, taken)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = Wait(ctx, path, taken)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_ = busy(t, err)

	got := make(chan error, 1)
	go func() {
		l, err := Wait(t.Context(), path, taken)
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	require.NoError(t, held.Release())
	assert.NoError(t, <-got)
	_, err = Wait(t.Context(), filepath.Join(t.TempDir(), "nowhere", "x.lock"), taken)
	assert.ErrorIs(t, err, os.ErrNotExist, "no waiting for what will not come")
}

// TestLink checks that a symbolic link in /run/lock, which any user may create, cannot make root
// open the file at the end of the link.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	precious, link := filepath.Join(dir, "precious"), filepath.Join(dir, "lock")
	require.NoError(t, os.WriteFile(precious, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(precious, link))
	_, err := TryExclusive(link, time.Now())
	require.Error(t, err)
	text, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "secret", string(text))
}

// In a directory that all users may write to, somebody may have put a pipe or a device in the place
// of a lock file. TryExclusive must not wait for a pipe or read a device to its end.
func TestNoRegularFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	require.NoError(t, syscall.Mkfifo(path, 0o666))
	held, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
	_, err = TryExclusive(path, time.Now())
	require.ErrorContains(t, err, "not a regular file")
	_, err = TryShared(path)
	require.ErrorContains(t, err, "not a regular file")

	huge := filepath.Join(t.TempDir(), "lock")
	file, err := os.Create(huge)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Truncate(1<<40))
	require.NoError(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	_, err = TryExclusive(huge, time.Now())
	var busy *Busy
	require.ErrorAs(t, err, &busy)
	require.Zero(t, busy.PID)
}
