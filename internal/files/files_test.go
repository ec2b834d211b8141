package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file that snapwatch writes for other users is readable for all, even if a person with a strict
// umask ran snapwatch first. A file that only root may read gets its private mode again, even if a
// person has changed the mode.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "report")
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	require.NoError(t, Directory(dir, 0o755))
	assert.Equal(t, os.FileMode(0o755), mode(dir))
	require.NoError(t, Replace(path, []byte("a"), 0o644))
	assert.Equal(t, os.FileMode(0o644), mode(path))
	require.NoError(t, os.Chmod(path, 0o666))
	require.NoError(t, Replace(path, []byte("b"), 0o600))
	assert.Equal(t, os.FileMode(0o600), mode(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "b", string(text))

	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, Directory(dir, 0o755))
	assert.Equal(t, os.FileMode(0o700), mode(dir), "who made it meant it")
	assert.Error(t, Replace(filepath.Join(dir, "none", "x"), nil, 0o600))
}

func TestReadPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index")
	require.NoError(t, os.WriteFile(path, []byte("a"), 0o600))
	text, err := ReadPrivate(path)
	require.NoError(t, err)
	assert.Equal(t, "a", string(text))
	require.NoError(t, os.Chmod(path, 0o620))
	_, err = ReadPrivate(path)
	assert.ErrorContains(t, err, "can be written by others")
	_, err = ReadPrivate(filepath.Dir(path))
	assert.ErrorContains(t, err, "is not a regular file")
	_, err = ReadPrivate(path + "x")
	assert.ErrorIs(t, err, os.ErrNotExist)
	text, err = Read(path)
	require.NoError(t, err)
	assert.Equal(t, "a", string(text))
	pipe := path + ".pipe"
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, read := range []func(string) ([]byte, error){Read, ReadPrivate} {
		_, err = read(pipe) // reading a pipe must not wait for a writer
		assert.ErrorContains(t, err, "is not a regular file")
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(path, 0o600))
		require.NoError(t, os.Chown(path, 65534, 65534))
		_, err = ReadPrivate(path)
		assert.ErrorContains(t, err, "belongs to user 65534")
	}
}

// If a process is killed, the next process that replaces the same file removes the temporary files
// of the killed process. Replacing a file removes only old temporary files.
func TestReplaceRemovesWhatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	path := filepath.Join(dir, "newest.json")
	old := time.Now().Add(-2 * time.Hour)
	for name, age := range map[string]time.Time{
		".newest.json123": old, ".newest.json124": time.Now(), ".newest.json127": time.Now().AddDate(1, 0, 0), ".newest.json": old, ".newest.json12x": old, ".newest.seen.json125": old, "newest.json126": old,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), age, age))
	}
	require.NoError(t, Replace(path, []byte("a"), 0o600))
	var names []string
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{".newest.json", ".newest.json124", ".newest.json12x", ".newest.seen.json125", "newest.json", "newest.json126"}, names)
}

// Replace writes its temporary file into the directory of the final file. In a different directory,
// the temporary file might fill a different file system, and no later call of Replace would remove
// the temporary file.
func TestReplaceWritesBesideTheFile(t *testing.T) {
	tmp, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	require.NoError(t, os.Chmod(tmp, 0o500))
	before, err := os.Stat(tmp)
	require.NoError(t, err)
	require.NoError(t, Replace(filepath.Join(dir, "x"), []byte("a"), 0o600))
	after, err := os.Stat(tmp)
	require.NoError(t, err)
	assert.Equal(t, before.ModTime(), after.ModTime())
}
