package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A release needs a maintainer with a name and an e-mail address; without a maintainer, the build
// stops before it makes any file.
func TestAReleaseNamesItsMaintainer(t *testing.T) {
	for _, maintainer := range []string{"", "Ada Lovelace", "ada@example.org", " <@>"} {
		release := exec.Command("../tools/make-release", "v1.2.3")
		release.Env = append(release.Environ(), "HOMEPAGE=https://example.org/snapwatch", "MAINTAINER="+maintainer)
		out, err := release.CombinedOutput()
		assert.Error(t, err, maintainer)
		assert.Contains(t, string(out), "MAINTAINER", maintainer)
	}
}

// If signing fails, the apt repository remains unchanged, because apt on every host refuses a
// repository without a signature, or with package lists that do not match the signature.
func TestARepositoryThatCannotBeSignedStays(t *testing.T) {
	work := t.TempDir()
	t.Setenv("PATH", work+":"+os.Getenv("PATH"))
	t.Setenv("SIGN", "key")
	t.Setenv("ADDRESS", "https://apt.example.org/snapwatch")
	program := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(work, name), []byte("#!/bin/sh\n"+script), 0o755))
	}
	program("apt-ftparchive", "for word; do last=$word; done; find \"$last\" -type f | sort\n")
	sign := func(fails string) string {
		return "for word; do [ \"$word\" != '" + fails + "' ] || exit 2; done\n" +
			"while [ $# -gt 0 ]; do [ \"$1\" != -o ] || out=$2; shift; done\n" +
			"if [ -n \"$out\" ]; then echo signed >\"$out\"; else echo key; fi\n"
	}
	dir := filepath.Join(work, "repo")
	add := func(name string) error {
		deb := filepath.Join(work, name)
		require.NoError(t, os.WriteFile(deb, []byte(name), 0o644))
		return exec.Command("../tools/repo", dir, deb).Run()
	}
	state := func() map[string]string {
		all := map[string]string{}
		require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && filepath.Ext(path) != ".deb" {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				all[strings.TrimPrefix(path, dir)] = string(text)
			}
			return err
		}))
		return all
	}
	program("gpg", sign(""))
	require.NoError(t, add("one.deb"))
	before := state()
	require.Equal(t, "signed\n", before["/dists/stable/InRelease"])
	require.Contains(t, before["/dists/stable/main/binary-arm64/Packages"], "one.deb")
	for _, fails := range []string{"--clearsign", "--detach-sign", "--export"} {
		program("gpg", sign(fails))
		require.Error(t, add("two.deb"), fails)
		assert.Equal(t, before, state(), fails)
	}
	program("gpg", sign(""))
	require.NoError(t, add("two.deb"))
	assert.Len(t, state(), len(before))
	assert.Contains(t, state()["/dists/stable/main/binary-arm64/Packages"], "two.deb")
}
