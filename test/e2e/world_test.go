//go:build e2e

// Package e2e plays whole stories on real ZFS, inside the lab's machine: with three sites, real
// syncoid, real cron, and the program as it is shipped. The tests check the state of the pools
// rather than the program's output.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// world has the three sites of a test: A and B are nodes of one cluster, and C only receives
// copies.
type world struct {
	t       *testing.T
	ctx     context.Context
	a, b, c *site.Site
}

// quick is a configuration with which snap accepts a stop after one second instead of twenty
// seconds.
const quick = "confirm_stop: 1s\n"

// storyTime is the longest duration of one test. The default of storyTime is long because the lab's
// machine may be emulated.
var storyTime = flag.Duration("story", 15*time.Minute, "end a test after this time")

// newWorld creates the sites, each with its own pool (ta, tb, tc).
func newWorld(t *testing.T) *world { return newWorldOf(t, "", "", "") }

// newNetwork is like [newWorld], with the sites connected by a network.
func newNetwork(t *testing.T) *world {
	return newWorldOf(t, "192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24")
}

func newWorldOf(t *testing.T, a, b, c string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *storyTime)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	w.morning()
	start := func(c site.Config, settings string) (*site.Site, error) {
		s, err := site.Start(ctx, c)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s, s.WriteFile("/etc/snapwatch/config.yaml", settings)
	}
	w.newPools([]string{"ta", "tb", "tc"}, func() (err error) {
		if w.a, err = start(site.Config{Name: "A", Node: "pve-a", Cluster: "pve", Pool: "ta", Address: a}, quick); err != nil {
			return err
		}
		if w.b, err = start(site.Config{Name: "B", Node: "pve-b", Cluster: "pve", Pool: "tb", Address: b}, quick); err != nil {
			return err
		}
		if w.c, err = start(site.Config{Name: "C", Pool: "tc", Address: c}, "datasets: [tc]\n"); err != nil {
			return err
		}
		// C gets an empty list of known disks, because the user of check cannot create the file.
		return w.c.WriteFile("/var/lib/snapwatch-exporter/seen.json", `{"version":1,"disks":{}}`)
	})
	return w
}

// morning sets the clock forward to the next morning if midnight is near, because a midnight in the
// middle of a test would make further snapshots due.
func (w *world) morning() {
	w.t.Helper()
	const early, late = 2, 14 // hours, UTC
	now := time.Now().UTC()
	if now.Hour() >= late {
		tomorrow := time.Date(now.Year(), now.Month(), now.Day()+1, early, 0, 0, 0, time.UTC)
		w.advanceClock(tomorrow.Sub(now))
	}
}

// newPools creates pools, and at the same time runs the functions in the argument others. At the
// end of the test, the pools are destroyed after everything else.
func (w *world) newPools(names []string, others ...func() error) {
	w.t.Helper()
	steps := others
	var ends []func() error
	for _, name := range names {
		steps = append(steps, func() error {
			if err := site.NewPool(w.ctx, name, 512); err != nil {
				return err
			}
			return site.CreateFilesystem(w.ctx, name+"/data")
		})
		ends = append(ends, func() error { return site.DestroyPool(context.Background(), name) })
	}
	w.t.Cleanup(func() { require.NoError(w.t, together(ends)) })
	require.NoError(w.t, together(steps))
}

// together runs the steps at the same time and waits for all of them.
func together(steps []func() error) error {
	var running sync.WaitGroup
	errs := make([]error, len(steps))
	for i, step := range steps {
		running.Go(func() { errs[i] = step() })
	}
	running.Wait()
	return errors.Join(errs...)
}

// program returns the path of the binary under test, which is in the test binary's directory.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return filepath.Join(filepath.Dir(self), "snapwatch")
}

// vm configures a virtual machine on A with new volumes.
func (w *world) vm(vmid int, disks ...string) {
	w.t.Helper()
	for _, d := range disks {
		require.NoError(w.t, site.CreateZvol(w.ctx, "ta/data/"+d, 16))
	}
	require.NoError(w.t, w.a.AddVM(vmid, disks...))
}

// container configures a container on A with a new file system.
func (w *world) container(vmid int, disk string) {
	w.t.Helper()
	require.NoError(w.t, site.CreateFilesystem(w.ctx, "ta/data/"+disk))
	require.NoError(w.t, w.a.AddContainer(vmid, disk))
}

func (w *world) start(s *site.Site, vmid int) {
	w.t.Helper()
	require.NoError(w.t, s.StartGuest(w.ctx, vmid))
}

func (w *world) stop(s *site.Site, vmid int) {
	w.t.Helper()
	require.NoError(w.t, s.StopGuest(vmid))
}

// run runs snapwatch on a site as root, and returns its output and exit status.
func (w *world) run(s *site.Site, args ...string) site.Result {
	w.t.Helper()
	r, err := s.Run(w.ctx, append([]string{program(w.t)}, args...)...)
	require.NoError(w.t, err)
	w.tell(s, args, r)
	return r
}

// tell logs the output and the exit status of snapwatch on a site.
func (w *world) tell(s *site.Site, args []string, r site.Result) {
	w.t.Helper()
	w.t.Logf("%s# snapwatch %s\n%s%s-> %d", s.Name, strings.Join(args, " "), r.Stdout, r.Stderr, r.Code)
}

// snap runs snap as cron does, and requires that snap succeeds and prints nothing.
func (w *world) snap(s *site.Site, args ...string) {
	w.t.Helper()
	r := w.run(s, append([]string{"snap"}, args...)...)
	require.Zero(w.t, r.Code)
	require.Empty(w.t, r.Stdout+r.Stderr, "cron mails whatever is printed")
}

// check runs check on C as an unprivileged user.
func (w *world) check(args ...string) site.Result {
	w.t.Helper()
	r, err := w.c.RunAs(w.ctx, "nobody", append([]string{program(w.t), "check"}, args...)...)
	require.NoError(w.t, err)
	w.t.Logf("C$ snapwatch check %s\n%s%s-> %d", strings.Join(args, " "), r.Stdout, r.Stderr, r.Code)
	return r
}

// send replicates a disk with syncoid, which makes no snapshots of its own. The argument flags has
// further flags of syncoid, for example to send properties.
func (w *world) send(from, to string, flags ...string) {
	w.t.Helper()
	if slices.Contains(flags, "--preserve-properties") && !w.laterSyncoid() {
		w.sendPreserving(from, to)
		return
	}
	argv := append([]string{"syncoid", "--no-sync-snap", "--quiet"}, flags...)
	_, err := w.c.Output(w.ctx, append(argv, from, to)...)
	require.NoError(w.t, err)
}

// sendPreserving does what syncoid --preserve-properties does: the copy gets the source's label as a
// local property.
func (w *world) sendPreserving(from, to string) {
	w.t.Helper()
	list := w.snapshots(from)
	newest, base := from+"@"+list[len(list)-1], ""
	if strings.Contains(w.zfs("list", "-H", "-o", "name", "-r", "tb", "tc"), to+"\n") {
		had := w.snapshots(to)
		if base = " -I @" + had[len(had)-1]; strings.HasSuffix(newest, "@"+had[len(had)-1]) {
			return
		}
	}
	w.pipe(fmt.Sprintf("zfs send%s %s | zfs receive -F -o label:running=%s %s", base, newest, w.label(from), to))
}

// replicate sends disks of A's storage to C.
func (w *world) replicate(disks ...string) {
	w.t.Helper()
	for _, d := range disks {
		w.send("ta/data/"+d, "tc/"+d)
	}
}

// snapshots returns the names of a dataset's snapshots, oldest first.
func (w *world) snapshots(dataset string) []string {
	w.t.Helper()
	return w.names(site.Snapshots(w.ctx, dataset))
}

// names returns the names of listed snapshots or bookmarks.
func (w *world) names(list []site.Snapshot, err error) []string {
	w.t.Helper()
	require.NoError(w.t, err)
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

// classes returns the classes of a dataset's managed snapshots, oldest first.
func (w *world) classes(dataset string) []string {
	w.t.Helper()
	var classes []string
	for _, name := range w.snapshots(dataset) {
		if class, ok := zfs.ParseSnapshotName(name); ok {
			classes = append(classes, class.String())
		}
	}
	return classes
}

// txg returns the transaction group of a dataset's newest snapshot.
func (w *world) txg(dataset string) uint64 {
	w.t.Helper()
	list, err := site.Snapshots(w.ctx, dataset)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, list)
	return list[len(list)-1].CreateTXG
}

// label returns a dataset's property label:running, "-" if it has none.
func (w *world) label(dataset string) string {
	w.t.Helper()
	value, _, err := site.Property(w.ctx, dataset, zfs.LabelRunning)
	require.NoError(w.t, err)
	return value
}

// labelSource returns a dataset's label and the property's source.
func (w *world) labelSource(dataset string) string {
	w.t.Helper()
	value, source, err := site.Property(w.ctx, dataset, zfs.LabelRunning)
	require.NoError(w.t, err)
	return value + " " + source
}

// zfs runs a zfs command and returns its output.
func (w *world) zfs(args ...string) string {
	w.t.Helper()
	out, err := w.c.Output(w.ctx, append([]string{"zfs"}, args...)...)
	require.NoError(w.t, err)
	return out
}

// advanceClock sets the machine's clock forward, so that all snapshots get older.
func (w *world) advanceClock(d time.Duration) {
	w.t.Helper()
	to := syscall.NsecToTimeval(time.Now().Add(d).UnixNano())
	require.NoError(w.t, syscall.Settimeofday(&to))
}

// exporter starts an exporter that runs until the end of the test.
func (w *world) exporter(s *site.Site, args ...string) *site.Process {
	w.t.Helper()
	p, err := s.Start(w.ctx, append([]string{program(w.t), "exporter"}, args...)...)
	require.NoError(w.t, err)
	require.NoError(w.t, p.WaitFor(w.ctx, "Listening on"))
	return p
}

// pipe runs a shell's command line on C.
func (w *world) pipe(line string) {
	w.t.Helper()
	_, err := w.c.Output(w.ctx, "sh", "-c", line)
	require.NoError(w.t, err)
}

// waitUntil waits for a state that no event announces: it polls the function in the argument
// reached until this function returns true.
func (w *world) waitUntil(reached func() bool) {
	w.t.Helper()
	for !reached() {
		require.NoError(w.t, w.ctx.Err())
		time.Sleep(50 * time.Millisecond)
	}
}
