// Package zfstest lets the test binary play zfs(8). A test package calls [Main]
// from its TestMain; [New] then puts the binary on PATH under zfs's name, with
// pools that the test describes and faults that it asks for, and records every
// command line.
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

// stateVariable tells the fake zfs where its pools are.
const stateVariable = "SNAPWATCH_TEST_ZFS"

// World is what the fake zfs knows.
type World struct {
	Datasets []Dataset
	Faults   []Fault
	// NoSnapshotsChanged plays OpenZFS 2.1, which does not know the property.
	NoSnapshotsChanged bool
	// NoPrevsnap plays a ZFS that lost the hidden property.
	NoPrevsnap bool
	// Zpool is what zpool status -j prints of each pool between the braces, by pool; one that is
	// not named is well.
	Zpool map[string]string
	// OddPrevsnap plays a ZFS in which it means something else.
	OddPrevsnap bool
}

// Dataset is one filesystem or volume.
type Dataset struct {
	Name      string
	GUID      uint64
	Creation  int64
	Origin    string
	Receiving bool
	Token     bool
	Changed   int64
	// Labels are user properties: value, received value and source.
	Labels    map[string][3]string
	Snapshots []Snapshot
	Bookmarks []Snapshot
	// Many is how many more snapshots of others a full list holds, older than all.
	Many int
}

// Snapshot is one snapshot of a dataset.
type Snapshot struct {
	Name     string
	GUID     uint64
	TXG      uint64
	Creation int64
	// Holds is how many holds are on it, Clones what was cloned from it.
	Holds  int
	Clones string
	// Config is its own value of snapwatch:config, "" for none.
	Config string
}

// Fault makes some calls go wrong.
type Fault struct {
	// Words must all be in the command line.
	Words []string
	// Calls is how many calls go wrong, 0 for all.
	Calls int
	// Output, when not "", is printed instead of the answer.
	Output string
	// DropRows leaves out that many rows at the end.
	DropRows int
	// CutBytes leaves out that many bytes at the end.
	CutBytes int
	// Stderr and Exit end the call after its output.
	Stderr string
	Exit   int
	// Hang leaves behind a process that no signal of snapwatch's reaches, as one in
	// uninterruptible sleep, with all files it inherited.
	Hang bool
	// Takes is how long the answer takes.
	Takes time.Duration
	// WaitFor is a file that must be there before the answer.
	WaitFor string
}

// Fake is a fake zfs in a directory of its own.
type Fake struct {
	t   *testing.T
	dir string
	// Kstat and LockDir are directories for the code under test.
	Kstat, LockDir string
}

// hungPrefix is what the file of a process that hangs is called before its number.
const hungPrefix = "hung"

// Main runs the tests, or plays zfs where the binary is called by that name.
func Main(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "zpool":
		os.Exit(playZpool(os.Args[1:]))
	case "zfs":
		os.Exit(play(os.Args))
	}
	os.Exit(m.Run())
}

// New makes a fake zfs for this test, with the pools of the world online.
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
	t.Setenv("GORACE", "atexit_sleep_ms=0") // each played zfs would sleep a second at its end
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

// Set changes the world.
func (f *Fake) Set(w World) {
	f.t.Helper()
	text, err := json.Marshal(w)
	f.must(err)
	// As one step: a fake zfs may be reading.
	f.must(os.WriteFile(filepath.Join(f.dir, "world.new"), text, 0o600))
	f.must(os.Rename(filepath.Join(f.dir, "world.new"), filepath.Join(f.dir, "world")))
}

// Pool sets the state that the kernel tells of a pool; "" exports it.
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

// Calls are the command lines of all calls so far, in order, without "zfs".
func (f *Fake) Calls() []string { return f.calls("log") }

// ZpoolCalls are those of zpool likewise.
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

// Forget empties the list of calls.
func (f *Fake) Forget() {
	f.t.Helper()
	f.must(os.RemoveAll(filepath.Join(f.dir, "log")))
}

// Path is a path in the fake's directory.
func (f *Fake) Path(name string) string { return filepath.Join(f.dir, name) }

// EndHung ends the processes that hang.
func (f *Fake) EndHung() { f.endHung() }

func (f *Fake) endHung() {
	entries, _ := os.ReadDir(filepath.Join(f.dir, "calls"))
	for _, e := range entries {
		// The name holds it: who makes the file may be killed before it has written anything.
		number, _ := strings.CutPrefix(e.Name(), hungPrefix)
		if pid, err := strconv.Atoi(number); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_ = os.Remove(filepath.Join(f.dir, "calls", e.Name()))
		}
	}
}

// Hung is how many processes hang.
func (f *Fake) Hung() int {
	entries, err := os.ReadDir(filepath.Join(f.dir, "calls"))
	f.must(err)
	return len(slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), hungPrefix) }))
}

// AwaitHung waits until that many processes hang.
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
