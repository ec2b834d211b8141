// Package zfstest makes the test binary play zfs(8) and zpool(8). A test package calls [Main] from
// its TestMain. [New] puts the binary on PATH under the names zfs and zpool. The binary answers for
// the pools and faults that the test describes, and records every command line.
package zfstest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stateVariable is the name of the environment variable with the directory of the fake zfs.
const stateVariable = "SNAPWATCH_TEST_ZFS"

// World has the pools that the fake zfs shows, and the faults that the fake zfs plays.
type World struct {
	Datasets []Dataset
	Faults   []Fault
	// NoSnapshotsChanged plays OpenZFS 2.1, which does not know the property snapshots_changed.
	NoSnapshotsChanged bool
	// NoPrevsnap plays a ZFS without the undocumented property prevsnap.
	NoPrevsnap bool
	// Zpool has, by pool, the text between the pool's braces in the output of zpool status -j. A
	// pool without an entry is healthy.
	Zpool map[string]string
	// OddPrevsnap plays a ZFS in which the property prevsnap has a value that is not the name of a
	// snapshot.
	OddPrevsnap bool
}

// Dataset is one filesystem or volume of the fake zfs.
type Dataset struct {
	Name      string
	GUID      uint64
	Creation  int64
	Origin    string
	Receiving bool
	Token     bool
	Changed   int64
	// Labels has, by name, each user property of the dataset, with value, received value and
	// source.
	Labels    map[string][3]string
	Snapshots []Snapshot
	Bookmarks []Snapshot
	// Many is the number of snapshots that a full list of the dataset's snapshots shows in addition
	// to the field Snapshots. These additional snapshots are not managed, and are older than all of
	// Snapshots.
	Many int
}

// Snapshot is one snapshot of a dataset of the fake zfs.
type Snapshot struct {
	Name     string
	GUID     uint64
	TXG      uint64
	Creation int64
	// Holds is the number of holds on the snapshot. Clones has the datasets that were cloned from
	// the snapshot.
	Holds  int
	Clones string
	// Config is the snapshot's own value of snapwatch:config, "" for none.
	Config string
}

// Fault makes some calls of the fake zfs or zpool fail.
type Fault struct {
	// A call fails only if its command line has all Words.
	Words []string
	// Calls is the number of calls that fail. 0 means that all calls fail.
	Calls int
	// Output, unless empty, is printed in place of the usual output.
	Output string
	// DropRows is the number of rows that are left out at the end of the output.
	DropRows int
	// CutBytes is the number of bytes that are left out at the end of the output.
	CutBytes int
	// Stderr and Exit are the call's standard error and exit status.
	Stderr string
	Exit   int
	// Hang makes the call start a process that no signal of snapwatch reaches, like a process in
	// uninterruptible sleep. The hanging process keeps all inherited files open.
	Hang bool
	// Takes is the time that a call with the Fault takes.
	Takes time.Duration
	// The call prints its output only after the file WaitFor exists.
	WaitFor string
}

// Fake is a fake zfs and zpool, with a directory of its own for its state.
type Fake struct {
	t   *testing.T
	dir string
	// Kstat and LockDir are the directories in which the code under test finds the state of pools
	// and makes its locks.
	Kstat, LockDir string
}

// hungPrefix is the beginning of the name of the file of a hanging process; the number of the
// process follows.
const hungPrefix = "hung"

// Main runs the tests, or plays zfs or zpool if the binary was started under that name.
func Main(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "zpool":
		os.Exit(playZpool(os.Args[1:]))
	case "zfs":
		os.Exit(play(os.Args))
	}
	os.Exit(m.Run())
}

// New makes a fake zfs for this test. All pools of the World w are online.
func New(t *testing.T, w World) *Fake {
	t.Helper()
	f := &Fake{t: t, dir: t.TempDir()}
	f.Kstat, f.LockDir = filepath.Join(f.dir, "kstat"), filepath.Join(f.dir, "lock")
	binary, err := os.Executable()
	f.must(err)
	for _, dir := range []string{f.Kstat, f.LockDir, filepath.Join(f.dir, "bin"), filepath.Join(f.dir, "calls")} {
		f.must(os.MkdirAll(dir, 0o755))
	}
	f.must(os.Symlink(binary, filepath.Join(f.dir, "bin", "zfs")))
	f.must(os.Symlink(binary, filepath.Join(f.dir, "bin", "zpool")))
	t.Setenv("PATH", filepath.Join(f.dir, "bin"))
	t.Setenv(stateVariable, f.dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each zfs would sleep for a second at its end
	t.Cleanup(f.endHung)
	f.Set(w)
	online := map[string]bool{}
	for _, d := range w.Datasets {
		pool, _, _ := strings.Cut(d.Name, "/")
		if !online[pool] {
			f.Pool(pool, "ONLINE")
		}
		online[pool] = true
	}
	return f
}

// Set replaces the pools and faults of the fake zfs.
func (f *Fake) Set(w World) {
	f.t.Helper()
	text, err := json.Marshal(w)
	f.must(err)
	// Replace the file in one step, because a fake zfs may be reading it.
	f.must(os.WriteFile(filepath.Join(f.dir, "world.new"), text, 0o600))
	f.must(os.Rename(filepath.Join(f.dir, "world.new"), filepath.Join(f.dir, "world")))
}

// Pool sets the state that the kernel shows for a pool; "" exports the pool.
func (f *Fake) Pool(name, state string) {
	f.t.Helper()
	dir := filepath.Join(f.Kstat, name)
	if state == "" {
		f.must(os.RemoveAll(dir))
		return
	}
	f.must(os.MkdirAll(dir, 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "state"), []byte(state+"\n"), 0o600))
}

// Calls returns the command lines of all calls of zfs so far, in their order, without the word
// "zfs".
func (f *Fake) Calls() []string { return f.calls("log") }

// ZpoolCalls returns the command lines of all calls of zpool so far, in their order, without the
// word "zpool".
func (f *Fake) ZpoolCalls() []string { return f.calls("zpool.log") }

func (f *Fake) calls(log string) []string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, log))
	if os.IsNotExist(err) {
		return nil
	}
	f.must(err)
	var calls []string
	for line := range bytes.Lines(text) {
		calls = append(calls, string(bytes.TrimSpace(line)))
	}
	return calls
}

// Forget empties the list that Calls returns.
func (f *Fake) Forget() {
	f.t.Helper()
	f.must(os.RemoveAll(filepath.Join(f.dir, "log")))
}

// Path returns the path of a file in the directory of the fake zfs.
func (f *Fake) Path(name string) string { return filepath.Join(f.dir, name) }

// EndHung kills the processes that hang because of a Fault.
func (f *Fake) EndHung() { f.endHung() }

func (f *Fake) endHung() {
	entries, _ := os.ReadDir(filepath.Join(f.dir, "calls"))
	for _, e := range entries {
		// The process number is in the name of the file, not in its content, because the process
		// may be killed before it writes the content.
		number, _ := strings.CutPrefix(e.Name(), hungPrefix)
		if pid, err := strconv.Atoi(number); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_ = os.Remove(filepath.Join(f.dir, "calls", e.Name()))
		}
	}
}

// Hung returns the number of processes that hang because of a Fault.
func (f *Fake) Hung() int {
	entries, err := os.ReadDir(filepath.Join(f.dir, "calls"))
	f.must(err)
	return len(slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), hungPrefix) }))
}

// AwaitHung waits until n processes hang because of a Fault.
func (f *Fake) AwaitHung(n int) {
	f.t.Helper()
	for end := time.Now().Add(10 * time.Second); f.Hung() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%d processes hang, expected %d", f.Hung(), n)
		}
	}
}

func (f *Fake) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
