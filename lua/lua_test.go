package lua

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
	"snapwatch/internal/zfs"
)

var update = flag.Bool("update", false, "write the golden files")

// TestMain makes this binary play zfs if it is started under that name. The played zfs stores its
// input in the directory PLAY. The played zfs prints the file "answer" in PLAY, or fails with the
// text in the file "fail".
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "zfs" {
		os.Exit(play(os.Getenv("PLAY")))
	}
	os.Exit(m.Run())
}

func play(dir string) int {
	stdin, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	for name, text := range map[string]string{"argv": strings.Join(os.Args[1:], "\n") + "\n", "stdin": string(stdin)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	if said, err := os.ReadFile(filepath.Join(dir, "fail")); err == nil {
		fmt.Fprint(os.Stderr, string(said))
		return 1
	}
	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	if err != nil {
		panic(err)
	}
	fmt.Print(string(answer))
	return 0
}

// stage puts the played zfs on PATH with the given answer, and returns the directory in which the
// played zfs stores its input.
func stage(t *testing.T, answer string) (dir string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir = t.TempDir()
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	require.NoError(t, os.Symlink(self, bin+"/zfs"))
	require.NoError(t, os.WriteFile(dir+"/answer", []byte(answer), 0o600))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("PLAY", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each played program would sleep a second at its end
	return dir
}

const (
	disk = "tank/data/vm-100-disk-0"
	name = "autosnap_2026-07-15_12:07:00_hourly"
)

// The damage that an invalid name does to a pool cannot be undone, so no invalid name may reach
// zfs.
func TestNamesAreRefused(t *testing.T) {
	dir := stage(t, `{"return": {}}`)
	p := Program{Pool: "tank"}
	for _, test := range []struct{ dataset, name string }{
		{disk, ""}, {disk, "@"}, {disk, "a@b"}, {disk, "a/b"}, {disk, "a b"}, {disk, "a#b"}, {disk, "a%b"}, {disk, "a\nb"}, {disk, "a\x00b"}, {disk, "ä"},
		{disk, strings.Repeat("a", 256-len(disk)-1)},
		{"", name},
		{"tank/", name},
		{"/tank", name},
		{"tank//a", name},
		{"tank/a@b", name},
		{"tank/a#b", name},
		{"tank/%recv", name},
		{"tank/a\tb", name},
		{"tank/" + strings.Repeat("a", 255), name},
		{"ssd/data/vm-100-disk-0", name},
		{"tank2/data/vm-100-disk-0", name},
		{"-r", name},
	} {
		_, err := p.Snapshot(t.Context(), []Guest{{Snapshot: test.name, Disks: []Disk{{Dataset: test.dataset, Snapshot: true}}}}, nil)
		assert.ErrorContains(t, err, "refusing", "snapshot %q@%q", test.dataset, test.name)
		_, err = p.Snapshot(t.Context(), []Guest{{Snapshot: test.name, Disks: []Disk{{Dataset: disk, Snapshot: true}, {Dataset: test.dataset, Label: "x"}}}}, nil)
		assert.ErrorContains(t, err, "refusing", "label %q@%q", test.dataset, test.name)
		_, err = p.Snapshot(t.Context(), nil, []Bookmark{{test.dataset, test.name}})
		assert.ErrorContains(t, err, "refusing", "mark %q@%q", test.dataset, test.name)
		_, err = p.Destroy(t.Context(), []DestroyRequest{{Dataset: test.dataset, Destroy: []string{test.name}}})
		assert.ErrorContains(t, err, "refusing", "destroy %q@%q", test.dataset, test.name)
		_, err = p.Destroy(t.Context(), []DestroyRequest{{Dataset: test.dataset, Keepers: []string{test.name}, Destroy: []string{name}}})
		assert.ErrorContains(t, err, "refusing", "keeper %q@%q", test.dataset, test.name)
	}
	for _, foreign := range []string{"manual", "autosnap_2026-07-15_12:07:00_hourly-keep", "xautosnap_2026-07-15_12:07:00_hourly", "autosnap_2026-07-15_12:07:00_", "__replicate_100-0_1784116020__", "syncoid_c_2026"} {
		_, err := p.Destroy(t.Context(), []DestroyRequest{{Dataset: disk, Destroy: []string{name, foreign}}})
		assert.EqualError(t, err, "refusing to destroy "+disk+"@"+foreign+": not a managed name")
	}
	assert.NoFileExists(t, dir+"/argv")
}

// A full name of exactly 255 bytes is valid.
func TestLongestName(t *testing.T) {
	stage(t, `{"return": {}}`)
	_, err := Program{Pool: "tank"}.Snapshot(t.Context(), []Guest{{Snapshot: strings.Repeat("a", 255-len(disk)-1), Disks: []Disk{{Dataset: disk, Snapshot: true}}}}, nil)
	assert.NoError(t, err)
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "%s; -update writes it", file)
}

func given(t *testing.T, dir, what string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, what))
	require.NoError(t, err)
	return string(text)
}

func TestSnapshotWords(t *testing.T) {
	dir := stage(t, `{"return": {}}`)
	_, err := Program{Pool: "tank"}.Snapshot(t.Context(), []Guest{
		{Snapshot: name, Disks: []Disk{
			{Dataset: disk, Snapshot: true, Bookmark: true, Label: "pve1"},
			{Dataset: "tank/my data/vm-100-disk-1", Snapshot: true, TrackChanges: true},
			{Dataset: "tank/data/vm-100-disk-2", Label: "pve1"},
		}},
		{Snapshot: name, Disks: []Disk{
			{Dataset: "tank/data/vm-103-disk-0", Snapshot: true, Config: "H4sI"}, {Dataset: "tank/data/vm-103-disk-1", Snapshot: true, Config: "H4sI", TrackChanges: true},
			{Dataset: "tank/data/vm-104-disk-0", Snapshot: true, Config: "H4sJ"},
		}},
		{Snapshot: "autosnap_2026-07-15_12:07:00_stopped", RefuseReceiving: true, Disks: []Disk{{Dataset: "tank/data/vm-101-disk-0", Snapshot: true, Bookmark: true, Label: "stopped"}}},
	}, []Bookmark{{"tank/data/vm-102-disk-0", name}})
	require.NoError(t, err)
	golden(t, "testdata/snapshot.argv", given(t, dir, "argv"))
	assert.Equal(t, snapshotProgram, given(t, dir, "stdin"))
}

func TestDestroyWords(t *testing.T) {
	dir := stage(t, `{"return": {}}`)
	_, err := Program{Pool: "tank"}.Destroy(t.Context(), []DestroyRequest{
		{Dataset: disk, Keepers: []string{name, "manual"}, Destroy: []string{"autosnap_2026-07-14_00:00:00_daily", "autosnap_2026-07-13_00:00:00_stopped"}},
		{Dataset: "tank/data/vm-101-disk-0", Destroy: []string{name}, Watch: true},
		{Dataset: "tank/data/vm-102-disk-0", Keepers: []string{"manual"}, Destroy: []string{name}, Check: true},
	})
	require.NoError(t, err)
	golden(t, "testdata/destroy.argv", given(t, dir, "argv"))
	assert.Equal(t, destroyProgram, given(t, dir, "stdin"))
}

func TestSnapshotAnswer(t *testing.T) {
	stage(t, `{"return": {"tank/data/vm-100-disk-0": {"snapshot": 0, "label": 0, "bookmark": 17}, "tank/data/vm-101-disk-0": {"snapshot": 28},
		"tank/data/vm-101-disk-1": {"snapshot": 0, "undone": 16}, "tank/data/vm-102-disk-0": {}, "tank/data/vm-103-disk-0": {"snapshot": 0, "guid": -2, "createtxg": 7, "creation": 1784116021, "was": 1784116020, "changed": 1784116021}}, "later": 1}`)
	got, err := Program{Pool: "tank"}.Snapshot(t.Context(), nil, nil)
	require.NoError(t, err)
	errno := func(n syscall.Errno) *syscall.Errno { return &n }
	assert.Equal(t, map[string]Outcome{
		disk:                      {Snapshot: errno(0), Label: errno(0), Bookmark: errno(syscall.EEXIST)},
		"tank/data/vm-101-disk-0": {Snapshot: errno(syscall.ENOSPC)},
		"tank/data/vm-101-disk-1": {Snapshot: errno(0), Undone: errno(syscall.EBUSY)},
		"tank/data/vm-102-disk-0": {},
		"tank/data/vm-103-disk-0": {Snapshot: errno(0), GUID: -2, CreateTXG: 7, Creation: 1784116021, ListChange: ListChange{1784116020, 1784116021}},
	}, got)
	_, told := got[disk].Made(disk, "x")
	assert.False(t, told)
	made, told := got["tank/data/vm-103-disk-0"].Made("tank/data/vm-103-disk-0", "x")
	assert.True(t, told)
	assert.Equal(t, zfs.Snapshot{Dataset: "tank/data/vm-103-disk-0", Name: "x", GUID: 1<<64 - 2, CreateTXG: 7, Creation: time.Unix(1784116021, 0)}, made)
}

func TestDestroyAnswer(t *testing.T) {
	stage(t, `{"return": {"tank/data/vm-100-disk-0": {"gone": {"a": 0, "b": 16}, "was": 0, "changed": 2}, "tank/data/vm-101-disk-0": {"missing": "k"}, "tank/data/vm-102-disk-0": {"receiving": 1}}}`)
	got, err := Program{Pool: "tank"}.Destroy(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]Destroyed{
		disk:                      {Gone: map[string]syscall.Errno{"a": 0, "b": syscall.EBUSY}, ListChange: ListChange{0, 2}},
		"tank/data/vm-101-disk-0": {Missing: "k"},
		"tank/data/vm-102-disk-0": {Receiving: 1},
	}, got)
}

// An unreadable answer of a channel program is an error, because it is unknown which changes the
// program made.
func TestUnreadableAnswers(t *testing.T) {
	for _, answer := range []string{
		"", "\n", "Channel program fully executed with no return value.\n", "{", `[]`, `{"return": []}`, `{"return": "done"}`, `{"return": 1}`, `{"error": "x"}`, `{}`, `null`, `{"return": null}`,
		`{"return": {"tank/data/vm-100-disk-0": 0}}`, `{"return": {"tank/data/vm-100-disk-0": {"snapshot": "no"}}}`, `{"return": {}} trailing`,
	} {
		stage(t, answer)
		_, err := Program{Pool: "tank"}.Snapshot(t.Context(), []Guest{{Snapshot: name, Disks: []Disk{{Dataset: disk, Snapshot: true}}}}, nil)
		assert.ErrorContains(t, err, "zfs program -j tank -: the answer is not the JSON expected", "%q", answer)
	}
}

func TestProgramFails(t *testing.T) {
	dir := stage(t, "")
	require.NoError(t, os.WriteFile(dir+"/fail", []byte("Channel program execution failed:\nMemory limit exhausted.\n"), 0o600))
	_, err := Program{Pool: "tank"}.Destroy(t.Context(), []DestroyRequest{{Dataset: disk, Destroy: []string{name}}})
	assert.ErrorContains(t, err, "Channel program execution failed: Memory limit exhausted., exit status 1 (zfs program")
	_, isCommand := errors.AsType[*command.Error](err)
	assert.True(t, isCommand)
}
