package quiesce

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
)

// pvesh puts a shell script in place of the program pvesh; in the script, $* has the arguments.
func pvesh(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pvesh"), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestAgent(t *testing.T) {
	ctx := t.Context()
	for _, test := range []struct {
		name, script         string
		frozen               bool
		status, freeze, thaw string // the expected errors of Status, Freeze and Thaw
	}{
		{name: "thawed", script: `case "$*" in *-status*) echo '{"result":"thawed"}';; *) echo '{"result":2}'; esac`},
		{name: "frozen", script: `case "$*" in *-status*) echo '{"result":"frozen"}';; *-freeze\ *) echo '{"result":{"error":{"class":"CommandNotFound","desc":"Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state"}}}';; *) echo '{"result":2}'; esac`,
			frozen: true, freeze: "somebody else has frozen it already: the agent of guest 101 refuses fsfreeze-freeze: Command"},
		{name: "the call is not allowed", script: `echo '{"result":{"error":{"class":"CommandNotFound","desc":"Command guest-fsfreeze-freeze has been disabled: the command is not allowed"}}}'`,
			status: "not allowed", freeze: "the agent of guest 101 refuses fsfreeze-freeze: Command", thaw: "not allowed"},
		{name: "the call is not allowed by an old agent", script: `case "$*" in *-status*) echo '{"result":"thawed"}';; *-freeze\ *) echo '{"result":{"error":{"class":"CommandNotFound","desc":"The command guest-fsfreeze-freeze has been disabled for this instance"}}}';; *) echo '{"result":0}'; esac`,
			freeze: "the agent of guest 101 refuses fsfreeze-freeze: The command"},
		{name: "an old agent is silent", script: `case "$*" in *-status*) exit 255;; *-freeze\ *) echo '{"result":{"error":{"class":"CommandNotFound","desc":"The command guest-fsfreeze-freeze has been disabled for this instance"}}}';; *) echo '{"result":0}'; esac`,
			status: "exit status 255", freeze: "somebody else has frozen it already: the agent"},
		{name: "no agent", script: `echo "QEMU guest agent is not running" >&2; exit 255`, status: "QEMU guest agent is not running", freeze: "QEMU guest agent is not running", thaw: "QEMU guest agent is not running"},
		{name: "the guest has ended", script: `echo "VM 101 is not running" >&2; exit 255`, status: "VM 101", freeze: "VM 101", thaw: "it no longer runs"},
		{name: "refuses", script: `echo '{"result":{"error":{"class":"GenericError","desc":"no"}}}'`, status: "refuses fsfreeze-status: no", freeze: "refuses fsfreeze-freeze: no", thaw: "refuses fsfreeze-thaw: no"},
		{name: "VSS gave up", script: `case "$*" in *-thaw*) echo '{"result":{"error":{"class":"GenericError","desc":"couldn'"'"'t hold writes: fsfreeze is limited up to 10 seconds"}}}';; *-status*) echo '{"result":"thawed"}';; *) echo '{"result":2}'; esac`, thaw: "it was no longer fully frozen when it was thawed: the agent of guest 101 refuses fsfreeze-thaw: couldn't hold writes"},
		{name: "nothing to freeze", script: `case "$*" in *-status*) echo '{"result":"thawed"}';; *) echo '{"result":0}'; esac`, freeze: "found no file system to freeze"},
		{name: "an odd word", script: `echo '{"result":"melting"}'`, status: `says "melting"`, freeze: "unexpected form", thaw: "unexpected form"},
		{name: "no result", script: `echo '{}'`, status: "the answer has no result", freeze: "the answer has no result", thaw: "the answer has no result"},
		{name: "no JSON", script: `echo fine`, status: "not the JSON expected", freeze: "not the JSON expected", thaw: "not the JSON expected"},
		{name: "a wrong path", script: `[ "$*" = "create /nodes/localhost/qemu/101/agent/fsfreeze-status --output-format json" ] && echo '{"result":"thawed"}'`, freeze: "exit status 1", thaw: "exit status 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pvesh(t, test.script)
			a := agent{vmid: 101}
			frozen, err := a.Frozen(ctx)
			assert.Equal(t, test.frozen, frozen)
			says(t, test.status, err)
			_, err = a.Freeze(ctx)
			says(t, test.freeze, err)
			assert.Equal(t, strings.HasPrefix(test.freeze, "somebody else"), errors.Is(err, ErrForeign))
			_, err = a.Thaw(ctx)
			says(t, test.thaw, err)
		})
	}
}

func says(t *testing.T, want string, err error) {
	t.Helper()
	if want == "" {
		assert.NoError(t, err)
		return
	}
	assert.ErrorContains(t, err, want)
}

// If a call of a guest's agent hangs, the call is killed at its timeout, together with the programs
// that the call started.
func TestAgentHangs(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	pvesh(t, "echo $$ >"+pid+"; sleep 1000; echo '{\"result\":1}'")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := agent{vmid: 101}.Freeze(ctx); ended <- err }()
	var id string
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(pid)
		id = string(text)
		return err == nil && len(id) > 1
	}, time.Minute, time.Millisecond)
	cancel()
	assert.ErrorIs(t, <-ended, context.Canceled)
	require.Eventually(t, func() bool {
		text, err := os.ReadFile("/proc/" + id[:len(id)-1] + "/cmdline")
		return err != nil || len(text) == 0
	}, time.Minute, time.Millisecond)
}

func TestCgroup(t *testing.T) {
	ctx := t.Context()
	root := t.TempDir()
	h := pve.Host{Cgroup: root}
	c := Local(h, "", "", time.Now).Freezer(pve.ID{VMID: 105, Kind: pve.LXC})
	_, err := c.Frozen(ctx)
	assert.ErrorContains(t, err, "the container has no freezer (cgroup v2)")
	freeze := func(ctx context.Context) error { _, err := c.Freeze(ctx); return err }
	assert.Error(t, freeze(ctx))
	_, err = c.Thaw(ctx)
	assert.ErrorIs(t, err, ErrGone)
	assert.NoDirExists(t, h.ContainerCgroup(105), "nothing is made where there is none")

	require.NoError(t, os.MkdirAll(h.ContainerCgroup(105), 0o755))
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, "lxc/105", name), []byte(text), 0o644))
	}
	put("cgroup.freeze", "0\n")
	put("cgroup.events", "populated 1\nfrozen 1\n")
	require.NoError(t, freeze(ctx))
	frozen, err := c.Frozen(ctx)
	require.NoError(t, err)
	assert.True(t, frozen)
	assert.ErrorIs(t, freeze(ctx), ErrForeign)
	put("cgroup.freeze", "0\n")
	put("cgroup.events", "populated 1\nfrozen 0\n")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	assert.ErrorContains(t, freeze(short), "a process of the container cannot be frozen")
	for _, test := range []struct {
		freeze, events string
		want           int
	}{{"1", "frozen 1\n", 1}, {"0", "frozen 0\n", 0}, {"1", "frozen 0\n", 0}} {
		put("cgroup.freeze", test.freeze)
		put("cgroup.events", test.events)
		thawed, err := c.Thaw(ctx)
		require.NoError(t, err)
		assert.Equal(t, test.want, thawed, "%+v", test)
	}
	frozen, err = c.Frozen(ctx)
	require.NoError(t, err)
	assert.False(t, frozen)
	put("cgroup.freeze", "maybe")
	_, err = c.Frozen(ctx)
	assert.ErrorContains(t, err, `says "maybe"`)
}
