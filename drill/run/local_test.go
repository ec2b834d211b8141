package run

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/drill"
)

// guestfishSays puts a guestfish first in the PATH that prints this and ends.
func guestfishSays(t *testing.T, output, complaint, end string) {
	t.Helper()
	bin := t.TempDir()
	text := "#!/bin/sh\ncat <<E\n" + output + "E\necho '" + complaint + "' >&2\n" + end + "\n"
	require.NoError(t, os.WriteFile(bin+"/guestfish", []byte(text), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// A btrfs that cannot be mounted is a fault, although libguestfs does not list the file systems then. A
// guestfish that was killed says nothing about the copy.
func TestLookAtABrokenBtrfs(t *testing.T) {
	const begun = "snapwatch: started\nsnapwatch: file systems\n"
	const complaint = "libguestfs: error: list_filesystems: mount exited with status 32: mount: /tmp/btrfsXXXX: wrong fs type, bad option, bad superblock on /dev/sda1"
	guestfishSays(t, begun, complaint, "exit 1")
	sight, err := Local{}.Look(t.Context(), nil, []string{"/dev/zd16"})
	require.NoError(t, err)
	require.Len(t, sight.Wrong, 1)
	assert.Contains(t, sight.Wrong[0], "listing the file systems: wrong fs type, bad option, bad superblock on /dev/sda1")
	assert.Equal(t, 1, sight.FileSystems)
	for _, end := range []string{"kill -9 $$", "exit 127"} {
		guestfishSays(t, begun, complaint, end)
		sight, err = Local{}.Look(t.Context(), nil, []string{"/dev/zd16"})
		require.Error(t, err, end)
		assert.Equal(t, drill.Sight{}, sight, end)
	}
}
