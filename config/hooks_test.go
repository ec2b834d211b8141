package config

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHook(t *testing.T) {
	h := Hook{}
	assert.Equal(t, 30*time.Second, h.Limit())
	assert.False(t, h.PerRun())
	assert.True(t, h.For(100), "without vmid it is for all")
	require.NoError(t, h.VMID.UnmarshalText([]byte("200-210")))
	assert.False(t, h.For(100))
	assert.True(t, h.For(205))
	h.Timeout, h.Per = Duration(time.Second), "run"
	assert.Equal(t, time.Second, h.Limit())
	assert.True(t, h.PerRun())
}

// Hooks run as the user who runs snapwatch. A configuration with hooks is refused if another user
// can write the file.
func TestHooksOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022)) // only the owner may write to the test's files
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string, mode os.FileMode) error {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		_, err := Load(path)
		return err
	}
	const hooks = "hooks: {after_stop: [{argv: [/bin/true]}]}\n"
	assert.NoError(t, write(hooks, 0o644))
	assert.ErrorContains(t, write("drill: {boot: [/bin/true]}\n", 0o664), "it has drill.boot to run as root: others may write "+path)
	assert.NoError(t, write("bookmarks: 3\n", 0o666), "nothing in it is run")
	assert.ErrorContains(t, write(hooks, 0o664), "others may write "+path+" (-rw-rw-r--): chmod go-w it")
	assert.ErrorContains(t, write(hooks, 0o646), "others may write "+path+" (-rw-r--rw-)")
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(path, 65534, 0))
		assert.ErrorContains(t, write(hooks, 0o644), "belongs to user 65534: chown root it")
	}
}

// A hook's program or the configuration is refused if another user can write a directory or replace
// a link on its path.
func TestHooksDirectory(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022)) // only the owner may write to the test's files
	dir := filepath.Join(t.TempDir(), "open")
	require.NoError(t, os.Mkdir(dir, 0o755))
	program, config := filepath.Join(dir, "hook"), filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(program, nil, 0o755))
	require.NoError(t, os.WriteFile(config, []byte("hooks: {after_stop: [{argv: [/bin/true]}]}\n"), 0o644))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(program, link))
	for _, path := range []string{program, link} {
		assert.NoError(t, Hook{Argv: []string{path}}.Trusted())
	}
	require.NoError(t, os.Chmod(dir, 0o777))
	for _, path := range []string{program, link} {
		assert.ErrorContains(t, Hook{Argv: []string{path}}.Trusted(), "others may write "+dir+" (drwxrwxrwx): chmod go-w it")
	}
	_, err := Load(config)
	assert.ErrorContains(t, err, "it has hooks to run as root: others may write "+dir)
}

// The program that starts guests in drills must pass the same checks as the program of a hook.
func TestDrillCheck(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	assert.NoError(t, Drill{}.Check(), "there is none")
	assert.NoError(t, Drill{Boot: []string{"/bin/true"}}.Check())
	assert.ErrorContains(t, Drill{Boot: []string{"/nonexistent"}}.Check(), "the program /nonexistent of drill.boot cannot be started: stat /nonexistent: no such file")
	program := filepath.Join(t.TempDir(), "boot")
	require.NoError(t, os.WriteFile(program, nil, 0o600))
	assert.ErrorContains(t, Drill{Boot: []string{program}}.Check(), "chmod +x it")
	require.NoError(t, os.Chmod(program, 0o777))
	assert.ErrorContains(t, Drill{Boot: []string{program}}.Check(), "others may write "+program)
}
