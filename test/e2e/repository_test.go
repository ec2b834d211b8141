//go:build e2e && systemd && nightly

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSystemdRepository installs and upgrades the package by apt alone, from a signed repository of
// tools/repo.
func TestSystemdRepository(t *testing.T) {
	w := newWorld(t)
	const repository = "/run/repository" // the address in the repository's sources file
	job := filepath.Dir(program(t))
	serve := func(name string) {
		require.NoError(t, os.RemoveAll(repository))
		require.NoError(t, os.Symlink(filepath.Join(job, name), repository))
		// The machine has no network, so Debian's own sources are left out.
		w.host("apt-get", "-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any",
			"-o", "Dir::Etc::sourceparts=/run/sources", "update")
	}
	version := func() string {
		return strings.TrimSpace(w.host("dpkg-query", "-W", "-f", "${Version}", "snapwatch"))
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(repository)) })
	sources, err := os.ReadFile(filepath.Join(job, "repo-old/snapwatch.sources"))
	require.NoError(t, err)
	w.place("/run/sources/snapwatch.sources", string(sources))
	w.place("/etc/apt/sources.list.d/snapwatch.sources", string(sources))

	serve("repo-old")
	w.apt("install", "--no-install-recommends", "snapwatch")
	defer w.apt("purge", "snapwatch")
	require.Equal(t, "0~0", version())
	w.host("snapwatch", "config", "check")
	require.NoError(t, os.WriteFile("/etc/snapwatch/config.yaml", []byte("role: replica\n"), 0o644))

	serve("repo")
	w.apt("upgrade", "--no-install-recommends")
	assert.NotEqual(t, "0~0", version())
	settings, err := os.ReadFile("/etc/snapwatch/config.yaml")
	require.NoError(t, err)
	assert.Equal(t, "role: replica\n", string(settings), "an upgrade leaves the configuration alone")
	assert.Equal(t, "enabled", w.unit("is-enabled", "snapwatch-finalize.service"))
}
