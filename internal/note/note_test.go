package note

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNote(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "notes"))
	names, err := d.Names()
	require.NoError(t, err)
	assert.Empty(t, names)
	_, err = d.Find("a")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	n, err := d.Take("a")
	require.NoError(t, err)
	assert.False(t, n.Left())
	require.NoError(t, n.Write("a rather long text"))
	require.NoError(t, n.Write("short"))
	_, err = d.Take("a")
	_, busy := errors.AsType[*Busy](err)
	assert.True(t, busy, "%v", err)
	var said string
	require.NoError(t, d.Read("a", &said))
	assert.Equal(t, "short", said, "also while it is held")

	n.Leave()
	n, err = d.Find("a")
	require.NoError(t, err)
	assert.True(t, n.Left())
	said = ""
	require.NoError(t, n.Read(&said))
	assert.Equal(t, "short", said)
	names, err = d.Names()
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, names)
	require.NoError(t, n.End())
	names, err = d.Names()
	require.NoError(t, err)
	assert.Empty(t, names)

	require.NoError(t, os.WriteFile(filepath.Join(string(d), "b"), []byte("{"), 0o600))
	n, err = d.Find("b")
	require.NoError(t, err)
	assert.Error(t, n.Read(&said))
	n.Leave()
	info, err := os.Stat(string(d))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

// At most one process holds a note at a time, even if several processes take and remove the note in
// turn.
func TestOneHolder(t *testing.T) {
	d := Dir(t.TempDir())
	var wait sync.WaitGroup
	var mu sync.Mutex
	holders := 0
	for range 8 {
		wait.Go(func() {
			for range 200 {
				n, err := d.Take("a")
				if err != nil {
					continue
				}
				mu.Lock()
				holders++
				alone := holders == 1
				mu.Unlock()
				assert.True(t, alone)
				mu.Lock()
				holders--
				mu.Unlock()
				assert.NoError(t, n.End())
			}
		})
	}
	wait.Wait()
}
