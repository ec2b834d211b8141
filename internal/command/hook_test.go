package command

import (
	"context"
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

func sh(script string) Cmd { return Cmd{Argv: []string{"/bin/sh", "-c", script}} }

func TestHook(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE")
	c := sh(`cat; echo "$WHAT $LC_ALL"; pwd; echo wrong >&2`)
	c.Stdin = "in\n"
	said, err := RunHook(t.Context(), c, []string{"WHAT=hook"})
	require.NoError(t, err)
	assert.Equal(t, "in\nhook C\n/\nwrong\n", said)

	said, err = RunHook(t.Context(), sh("echo no; exit 3"), nil)
	assert.Equal(t, 3, ExitCode(err))
	assert.Equal(t, "no\n", said)

	_, err = RunHook(t.Context(), Cmd{Argv: []string{"/nowhere/hook"}}, nil)
	assert.ErrorIs(t, err, os.ErrNotExist)

	said, err = RunHook(t.Context(), sh("yes | head -c 300000; echo end"), nil)
	require.NoError(t, err)
	assert.Len(t, said, maxStderr)
	assert.True(t, strings.HasSuffix(said, "end\n"), "why it failed is said last")

	// This hook does not read its standard input.
	c = sh("exit 0")
	c.Stdin = strings.Repeat("x", 1<<20)
	_, err = RunHook(t.Context(), c, nil)
	assert.NoError(t, err)
}

// A hook must not inherit this process's files, because an inherited lock would remain locked after
// the run has ended.
func TestHookInheritsNothing(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	said, err := RunHook(t.Context(), Cmd{Argv: []string{"/bin/ls", "-l", "/proc/self/fd"}}, nil)
	require.NoError(t, err)
	assert.Contains(t, said, "pipe:", "its output")
	assert.NotContains(t, said, file.Name())
}

// A process that a hook leaves in the background does not delay RunHook, and is not killed.
func TestHookBackground(t *testing.T) {
	dir := t.TempDir()
	said, err := RunHook(t.Context(), sh("sleep 600 & echo $! >"+dir+"/pid; echo left"), nil)
	require.NoError(t, err)
	assert.Equal(t, "left\n", said)
	require.NoError(t, syscall.Kill(pidIn(t, dir+"/pid"), syscall.SIGKILL), "it lives")
}

// When the timeout of a hook ends, RunHook kills the hook together with its children.
func TestHookKillsTheGroup(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "alive"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := RunHook(ctx, sh("sleep 600 >"+dir+"/alive & echo $! >"+dir+"/pid; wait"), nil)
		ended <- err
	}()
	alive, err := os.Open(filepath.Join(dir, "alive")) // opening the pipe waits for the writer
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, alive.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = alive.Read(make([]byte, 1))
	assert.ErrorContains(t, err, "EOF", "its child is gone, too")
}

// RunHook returns only after a killed hook has ended, because the hook's files must be closed and
// its locks must be free for the next hook. When a process ends, the kernel first takes back the
// memory, and then closes the files.
func TestKilledHookHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	_, err := killedActor(t, "lock", path)
	require.NotErrorIs(t, err, ErrStillRunning)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	assert.NoError(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
}

// RunHook reports a process of the hook that still exists although RunHook killed it. In this test,
// the process is a zombie. On a real host, the process may wait for a disk.
func TestKilledHookStillRuns(t *testing.T) {
	said, err := killedActor(t, "stay")
	assert.ErrorIs(t, err, ErrStillRunning)
	pid, err := strconv.Atoi(said)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// killedActor runs an actor as a hook, and kills it after it has written to the FIFO. killedActor
// returns what the actor wrote, and the error of RunHook.
func killedActor(t *testing.T, does string, words ...string) (said string, err error) {
	t.Helper()
	fifo := stage(t)
	path, err := Find("actor")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := RunHook(ctx, Cmd{Argv: append([]string{path, does, fifo}, words...)}, nil)
		ended <- err
	}()
	text, err := os.ReadFile(fifo) // reading the FIFO waits for the actor
	require.NoError(t, err)
	cancel()
	err = <-ended
	require.ErrorIs(t, err, context.Canceled)
	return string(text), err
}

func pidIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return pid
}
