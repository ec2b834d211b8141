package files

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program counts as root's only if its directory also belongs to root, because a user who may
// write to the directory can replace the program.
func TestOnlyRoots(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022)) // only the owner may write to the test's files
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	for _, d := range []string{"good", "open/in", "links", "sticky"} {
		require.NoError(t, os.MkdirAll(at(d), 0o755))
	}
	for _, f := range []string{"good/hook", "open/hook", "open/in/hook", "sticky/hook"} {
		require.NoError(t, os.WriteFile(at(f), nil, 0o755))
	}
	require.NoError(t, os.WriteFile(at("good/open"), nil, 0o755))
	require.NoError(t, os.Chmod(at("good/open"), 0o775))
	require.NoError(t, os.Chmod(at("open"), 0o775))
	require.NoError(t, os.Chmod(at("sticky"), 0o777|os.ModeSticky))
	for name, to := range map[string]string{
		"direct": at("good/hook"), "relative": "../good/hook", "dots": "../open/../good/hook", "byopen": at("open/out"), "openfile": "../good/open",
		"loop": "loop", "chain": "direct", "dir": at("good"), "in": at("open/in"), "none": "nowhere",
	} {
		require.NoError(t, os.Symlink(to, at("links/"+name)))
	}
	require.NoError(t, os.Symlink(at("good/hook"), at("open/out")))
	for path, said := range map[string]string{
		"good/hook": "", "good/./hook": "", "sticky/hook": "", "links/direct": "", "links/relative": "", "links/chain": "", "links/dir/hook": "",
		"good/open":        "others may write " + at("good/open"),
		"open/hook":        "others may write " + at("open") + " (drwxrwxr-x): chmod go-w it",
		"open/in/hook":     "others may write " + at("open"),
		"links/byopen":     "others may write " + at("open"),
		"links/dots":       "others may write " + at("open"),
		"links/openfile":   "others may write " + at("good/open"),
		"links/in/../hook": "others may write " + at("open"),
		"links/loop":       "too many links",
		"links/none":       "no such file",
		"nowhere/hook":     "no such file",
	} {
		err := OnlyRoots(dir + "/" + path)
		if said == "" {
			assert.NoError(t, err, path)
		} else {
			assert.ErrorContains(t, err, said, path)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	require.NoError(t, os.Lchown(at("links/direct"), nobody, nobody))
	assert.ErrorContains(t, OnlyRoots(at("links/direct")), at("links/direct")+" belongs to user 65534: chown root it")
	require.NoError(t, os.Chown(at("good"), nobody, nobody))
	assert.ErrorContains(t, OnlyRoots(at("links/relative")), at("good")+" belongs to user 65534")
	require.NoError(t, os.Chown(at("sticky/hook"), nobody, nobody))
	assert.ErrorContains(t, OnlyRoots(at("sticky/hook")), "belongs to user 65534")
}
