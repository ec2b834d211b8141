package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/drill"
)

// tree writes files, by their path below a new directory; a text that begins with -> is the target
// of a symbolic link.
func tree(t *testing.T, content map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for path, text := range content {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, is := strings.CutPrefix(text, "->"); is {
			require.NoError(t, os.Symlink(target, path))
		} else {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	return dir
}

// A container's system is known by its file os-release. No link of a container leads to the files of
// this host.
func TestInspectFilesFindsTheSystem(t *testing.T) {
	outside := filepath.Join(tree(t, map[string]string{"os-release": `PRETTY_NAME="of the host"`}), "os-release")
	for name, c := range map[string]struct {
		files  map[string]string
		system string
		is     bool
	}{
		"debian":           {map[string]string{"usr/lib/os-release": "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n", "etc/os-release": "->../usr/lib/os-release"}, "Debian GNU/Linux 13 (trixie)", true},
		"only below usr":   {map[string]string{"usr/lib/os-release": "PRETTY_NAME=Alpine\n"}, "Alpine", true},
		"control words":    {map[string]string{"etc/os-release": "PRETTY_NAME='a\x1b[2Jb'\n"}, "a [2Jb", true},
		"without a name":   {map[string]string{"bin/app": "x"}, "", true},
		"data":             {map[string]string{"database/a": "x"}, "", false},
		"a link to a host": {map[string]string{"etc/os-release": "->" + outside, "usr/lib/os-release": "->../../../../../../.." + outside}, "", true},
		"a link for a dir": {map[string]string{"etc": "->" + filepath.Dir(outside)}, "", true},
	} {
		found, err := inspectFiles(tree(t, c.files), nil)
		require.NoError(t, err, name)
		assert.Equal(t, drill.Inspection{System: c.system, IsSystem: c.is}, found, name)
	}
}

// The parts of several drills read each byte of each file once. A link, and what it leads to, is not
// read.
func TestInspectReadsParts(t *testing.T) {
	outside := tree(t, map[string]string{"big": strings.Repeat("x", 1<<20)})
	dir := tree(t, map[string]string{"a": "12345", "b/c": strings.Repeat("y", 3000), "b/empty": "", "z": "6", "link": "->" + outside + "/big", "dir": "->" + outside})
	device := filepath.Join(tree(t, map[string]string{"device": strings.Repeat("z", 3<<20+1)}), "device")
	for _, parts := range []float64{1, 4, 7} {
		var files, blocks uint64
		for i := range int(parts) {
			p := checker.Part{From: float64(i) / parts, To: float64(i+1) / parts}
			found, err := inspectFiles(dir, &p)
			require.NoError(t, err)
			assert.Empty(t, found.Wrong)
			files += found.Bytes
			found, err = Inspect(device, &p)
			require.NoError(t, err)
			assert.Empty(t, found.Wrong)
			blocks += found.Bytes
		}
		assert.Equal(t, []uint64{3006, 3<<20 + 1}, []uint64{files, blocks}, "in %g parts", parts)
	}
	found, err := Inspect(device, nil)
	require.NoError(t, err)
	assert.Zero(t, found)
	_, err = Inspect(device+"x", &checker.Part{To: 1})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A path in a container may be longer than the kernel takes. What is below it is read all the same.
func TestInspectReadsLongPaths(t *testing.T) {
	dir := tree(t, map[string]string{"a": "12345"})
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	for range 20 {
		const name = 250
		require.NoError(t, root.Mkdir(strings.Repeat("x", name), 0o755))
		below, err := root.OpenRoot(strings.Repeat("x", name))
		require.NoError(t, err)
		require.NoError(t, root.Close())
		root = below
	}
	require.NoError(t, root.WriteFile("b", []byte("678"), 0o600))
	require.NoError(t, root.Close())
	found, err := inspectFiles(dir, &checker.Part{To: 1})
	require.NoError(t, err)
	assert.Equal(t, drill.Inspection{Bytes: 8}, found)
}

// Files with holes may have any size. Nothing is called read if the sizes do not add up.
func TestInspectOfSizesThatOverflow(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "snapwatch") //nolint:usetesting // only tmpfs has files of this size
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600))
		require.NoError(t, os.Truncate(filepath.Join(dir, name), 3<<61))
	}
	_, err = inspectFiles(dir, &checker.Part{To: 1})
	assert.ErrorContains(t, err, "the sizes of the files add up to more than")
}

// A read error is a fault with its place. The memory of this process is a file that cannot be read
// at its begin. All other errors say nothing about the copy.
func TestInspectFindsAReadError(t *testing.T) {
	read := func(path string) (found drill.Inspection, err error) {
		file, err := os.Open(path)
		require.NoError(t, err)
		defer func() { _ = file.Close() }()
		err = readRange(&found, file, " of /etc/passwd", 4096, 8192)
		return orFault(found, err)
	}
	found, err := read("/proc/self/mem")
	require.NoError(t, err)
	assert.Equal(t, drill.Inspection{Wrong: "reading at byte 4096 of /etc/passwd: input/output error"}, found)
	_, err = read(t.TempDir())
	assert.ErrorContains(t, err, "is a directory")
}

func TestInspectMountedOfNoDataset(t *testing.T) {
	_, err := InspectMounted("no-such-pool/d-0", t.TempDir(), nil)
	require.ErrorContains(t, err, "no-such-pool/d-0")
}
