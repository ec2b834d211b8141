package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/note"
	"snapwatch/snapper"
)

func vmids(guests []hookGuest) (list []int) {
	for _, g := range guests {
		list = append(list, g.VMID)
	}
	return list
}

// A guest's before_snapshot hook runs only if the guest is alive and the plan takes snapshots of
// its disks.
func TestDueForHooks(t *testing.T) {
	due := dueFor(hookPlan())
	assert.Equal(t, []int{100, 101}, vmids(due))
	assert.Len(t, due[0].Snapshots, 2, "of both pools")
}

// Which hooks run after the snapshots of a guest depends on the outcomes of these snapshots.
func TestTakenForHooks(t *testing.T) {
	name := "autosnap_2026-07-15_12:07:01_hourly"
	live, stopped := takenOf(hookPlan(), map[string]snapper.Outcome{
		"tank/vm-100-disk-0": {Snapshot: name}, "ssd/vm-100-disk-1": {Err: errors.New("no space")},
		"tank/vm-101-disk-0": {Err: errors.New("no space")}, "tank/vm-102-disk-0": {Snapshot: "autosnap_2026-07-15_12:07:00_stopped"},
		"tank/vm-103-disk-0": {},
	})
	assert.Equal(t, []hookGuest{
		{VMID: 100, Snapshots: []hookSnapshot{{"tank/vm-100-disk-0", name, "hourly"}}, Errors: []string{"no space"}, failed: true},
		{VMID: 101, Snapshots: []hookSnapshot{}, Errors: []string{"no space"}, failed: true},
	}, live)
	assert.Equal(t, []int{102}, vmids(stopped))
}

func TestHookCalls(t *testing.T) {
	var some config.VMIDs
	require.NoError(t, some.UnmarshalText([]byte("101-103")))
	guests := []hookGuest{{VMID: 100}, {VMID: 101}, {VMID: 102}}
	hooks := []config.Hook{{Argv: []string{"/a"}}, {Argv: []string{"/b"}, VMID: some}, {Argv: []string{"/c"}, Per: "run", VMID: some}, {Argv: []string{"/d"}, Per: "run"}}
	once, each := calls(hooks, afterStop, "pve1", guests)
	require.Len(t, once, 2)
	assert.Equal(t, []int{101, 102}, vmids(once[0].guests))
	assert.Equal(t, "after_stop, once", once[0].String())
	assert.Equal(t, []int{100, 101, 102}, vmids(once[1].guests))
	assert.Len(t, each[100], 1)
	require.Len(t, each[102], 2)
	assert.Equal(t, "hook after_stop, for guest 102: gone (/b)", each[102][1].says("gone"))
	once, each = calls(hooks[1:3], afterStop, "pve1", guests[:1])
	assert.Empty(t, once)
	assert.Empty(t, each)
}

func TestHookEnvironment(t *testing.T) {
	c := hookCall{on: beforeSnapshot, node: "pve1", guests: dueFor(hookPlan())}
	assert.Equal(t, []string{
		"SNAPWATCH_HOOK=before_snapshot", "SNAPWATCH_NODE=pve1", "SNAPWATCH_VMID=100\n101", "SNAPWATCH_POOLS=ssd\ntank",
		"SNAPWATCH_SNAPSHOT=autosnap_2026-07-15_12:07:00_hourly", "SNAPWATCH_CLASS=hourly",
		"SNAPWATCH_DISKS=ssd/vm-100-disk-1\ntank/vm-100-disk-0\ntank/vm-101-disk-0",
	}, c.environment())
	for range 3000 {
		c.guests[0].Snapshots = append(c.guests[0].Snapshots, hookSnapshot{Dataset: strings.Repeat("x", len(c.guests[0].Snapshots))})
	}
	assert.NotContains(t, strings.Join(c.environment(), " "), "SNAPWATCH_DISKS", "the kernel would not start the hook")
	assert.Contains(t, c.environment(), "SNAPWATCH_VMID=100\n101")
}

func testHooks(t *testing.T) *hooks {
	return &hooks{Options: Options{World: Local{Clock: func() time.Time { return noon }, StateDir: t.TempDir()}}, journal: testJournal()}
}

// script writes a hook's program, a shell script, and returns the hook's command line.
func script(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	for dir := filepath.Dir(path); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		// The hook's directory must have the mode 0755, whatever the umask is.
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	return []string{path}
}

// A before_snapshot hook that hangs is killed, and its guest gets no snapshot. If no time is left
// for a hook, the hook is not started. The log has the output of hooks, in lines of printable
// characters.
func TestBeforeHooks(t *testing.T) {
	h := testHooks(t)
	var hangs, ends config.VMIDs
	require.NoError(t, hangs.UnmarshalText([]byte("101")))
	require.NoError(t, ends.UnmarshalText([]byte("100")))
	h.Config.Hooks.BeforeSnapshot = []config.Hook{
		{Argv: script(t, "exec sleep 600"), VMID: hangs, Timeout: config.Duration(100 * time.Millisecond)},
		{Argv: script(t, `printf 'a\033[31mb\n'`), VMID: ends},
	}
	failed, begun := h.startBefore(t.Context(), h.dueHooks(hookPlan()))
	assert.Len(t, begun, 2, "it is owed to both that after_snapshot follows")
	h.follow(snapper.Plan{}, nil, begun)
	assert.Len(t, failed, 1)
	assert.ErrorContains(t, failed[101], "for guest 101: killed after its time limit (100ms)")
	h.end()
	said := h.report.Problems
	require.Len(t, said, 1)
	assert.Regexp(t, `for guest 100: a \[31mb \(/\S+/hook\)$`, said[0].Text)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failed, begun = h.startBefore(ctx, h.dueHooks(hookPlan()))
	assert.Empty(t, begun, "none was started")
	assert.ErrorContains(t, failed[100], "not started: context canceled")
	assert.Len(t, failed, 2)
}

// If a before_snapshot hook that runs once for several guests fails, none of these guests gets a
// snapshot.
func TestBeforeHookOnce(t *testing.T) {
	h := testHooks(t)
	var one config.VMIDs
	require.NoError(t, one.UnmarshalText([]byte("100")))
	h.Config.Hooks.BeforeSnapshot = []config.Hook{
		{Argv: script(t, "exit 1"), Per: "run", VMID: one}, {Argv: script(t, "echo $SNAPWATCH_VMID")},
	}
	failed, _ := h.startBefore(t.Context(), h.dueHooks(hookPlan()))
	assert.Len(t, failed, 1)
	assert.ErrorContains(t, failed[100], "once: exit status 1")
	h.end()
	said := h.report.Problems
	require.Len(t, said, 1, "the other hook ran for 101 alone")
	assert.Regexp(t, `: 101 \(/\S+/hook\)$`, said[0].Text)
}

func TestHookLines(t *testing.T) {
	assert.Empty(t, hookLines(" \n\n"))
	assert.Equal(t, []string{"a b", "c"}, hookLines("a\tb\r\nc"))
	lines := hookLines(strings.Repeat("y\n", 60))
	assert.Len(t, lines, maxHookLines+1)
	assert.Equal(t, "(10 lines before)", lines[0])
	assert.Equal(t, "the end", hookLines(strings.Repeat("y\n", 60) + "the end\n")[maxHookLines])
	assert.Len(t, hookLines(strings.Repeat("ж", 1000))[0], maxHookLine+len("…"))
}

// If a run is killed, its hook continues, and until this hook ends no other hook of its guest
// starts.
func TestHookOutlivesTheRun(t *testing.T) {
	h := testHooks(t)
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "end"), 0o600))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "begun"), 0o600))
	h.Config.Hooks.BeforeSnapshot = []config.Hook{{Argv: script(t, "echo >"+dir+"/begun; read x <"+dir+"/end"), Per: "run"}}
	turns := &turns{hooks: h, on: afterSnapshot, taken: map[int]*turn{}}
	for _, g := range dueFor(hookPlan()) {
		require.NoError(t, turns.beginTurn(t.Context(), g))
	}
	ended := make(chan error)
	go func() {
		_, err := h.startHook(t.Context(), h.dueHooks(hookPlan()).once[0], turns)
		ended <- err
	}()
	_, err := os.ReadFile(filepath.Join(dir, "begun"))
	require.NoError(t, err)
	other, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	for _, vmid := range []int{100, 101} {
		// When a process dies, the kernel closes the files of the process. The test puts another file
		// in the place of the file of the note, as if the process of the run had died.
		require.NoError(t, syscall.Dup3(int(other.Fd()), int(turns.taken[vmid].lock.(*note.Note).File().Fd()), syscall.O_CLOEXEC))
		_, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
		assert.True(t, isBusy(err), "%d: %v", vmid, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "end"), []byte("now\n"), 0o600))
	require.NoError(t, <-ended)
	for _, vmid := range []int{100, 101} {
		lock, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
		require.NoError(t, err)
		require.NoError(t, lock.End())
	}
}

// If a hook of a guest leaves a process in the background, the run starts the next hooks of this
// guest without waiting for the process.
func TestHookLeavesSomething(t *testing.T) {
	h := testHooks(t)
	h.Config.Hooks.BeforeSnapshot = []config.Hook{{Argv: script(t, "sleep 600 & echo $!")}}
	_, begun := h.startBefore(t.Context(), h.dueHooks(hookPlan()))
	h.follow(snapper.Plan{}, nil, begun)
	h.end()
	for _, p := range h.report.Problems {
		pid, err := strconv.Atoi(strings.Fields(p.Text)[5])
		require.NoError(t, err, p.Text)
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	}
	for _, vmid := range []int{100, 101} {
		lock, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
		require.NoError(t, err)
		require.NoError(t, lock.End())
	}
}
