//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/test/sim"
	"snapwatch/test/site"
)

var (
	randomSteps = flag.Int("steps", 40, "how many random steps TestRandomSteps takes")
	randomSeed  = flag.Uint64("seed", 835, "what they are drawn from")
)

// weekSteps is the number of steps after which the sites are created again.
const weekSteps = 40

// TestRandomSteps plays random steps in the model of test/sim and on real sites with real syncoid.
// After each step, the test compares the real sites with the model: labels, snapshots, bookmarks,
// common snapshots, and the verdicts of check on C. The thousands of weeks that tests play in the
// model prove something only if the model agrees with real ZFS.
func TestRandomSteps(t *testing.T) {
	for begun := 0; begun < *randomSteps; begun += weekSteps {
		steps := min(weekSteps, *randomSteps-begun)
		seed := *randomSeed + uint64(begun/weekSteps)
		t.Run(fmt.Sprintf("steps=%d,seed=%d", steps, seed), func(t *testing.T) { playWeek(t, seed, steps) })
	}
}

func playWeek(t *testing.T, seed uint64, steps int) {
	setup, plan := sim.LabWeek(seed, steps)
	playInLab(t, setup, plan, steps)
}

// playInLab plays steps in the model and on real sites, and compares the real sites with the model
// after each step.
func playInLab(t *testing.T, setup sim.Setup, plan []sim.Step, ticks int) {
	w := newWorld(t)
	w.secondStorage()
	setup.RollsBack = !w.laterSyncoid()
	w.backToday()
	w.advanceClock(time.Until(setup.Start))
	// In the model, a guest that is off does not start again during a run, so a short confirm_stop
	// is enough.
	settings := fmt.Sprintf("confirm_stop: 100ms\nbookmarks: %d\nstopped_grace: %s\nadopt_peer_labels: true\n", setup.Bookmarks, setup.Grace)
	for _, s := range []*site.Site{w.a, w.b} {
		require.NoError(t, s.WriteFile("/etc/snapwatch/config.yaml", settings))
		require.NoError(t, s.Install("systemctl", "#!/bin/sh\necho LoadState=loaded\necho ActiveState=$(cat /run/boot)\n"))
		require.NoError(t, s.WriteFile("/run/systemd/system/marker", ""))
		s.Env = append(s.Env, "TZ=Europe/Berlin") // the time zone of the model
	}
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\nstopped_grace: "+setup.Grace.String()+"\n"))
	r := &replay{
		world: w, model: sim.NewWorld(setup), setup: setup, sites: [3]*site.Site{w.a, w.b, w.c},
		guests: map[int]sim.Guest{}, begun: time.Now(), spent: map[string]time.Duration{}, guids: map[uint64]uint64{}, names: map[string]string{},
	}
	for i := range r.sets {
		r.sets[i] = map[string]sim.Disk{}
	}
	defer func() {
		if t.Failed() {
			t.Log(r.model.Story())
		}
	}()
	r.model.PlayIn(r, ticks, plan)
	require.Empty(t, r.model.Fail)
	r.sameBytes()
	t.Log(r.spent)
	for _, s := range plan {
		t.Log(s)
	}
}

// replay repeats on real sites the events of the model in test/sim.
type replay struct {
	*world
	model *sim.World
	setup sim.Setup
	sites [3]*site.Site
	// At the last call of the method `follow`, the lab took over the model's state. guests has the
	// guests of this state by VMID. sets has the datasets of this state by site and name.
	guests map[int]sim.Guest
	sets   [3]map[string]sim.Disk
	// guids maps the model's snapshot guids to the real guids. names maps the model's names of
	// managed snapshots to the names in the lab: the two differ in the seconds.
	guids map[uint64]uint64
	names map[string]string
	begun time.Time
	// The field `going` has the commands that are running on the real sites.
	going []runningCommand
	// spent has, by kind of work, the total time that the test waited for this work.
	spent map[string]time.Duration
}

// The method `took` begins to measure the time of some work. The returned function ends the
// measurement and adds the time to the field `spent`.
func (r *replay) took(what string) func() {
	begun := time.Now()
	return func() { r.spent[what] += time.Since(begun) }
}

// secondStorage gives the nodes the storage ssd in addition to the usual storage.
func (w *world) secondStorage() {
	for s, pool := range map[*site.Site]string{w.a: "ta", w.b: "tb", w.c: "tc"} {
		w.zfs("create", pool+"/ssd")
		if s == w.c {
			continue
		}
		storages, err := s.ReadFile("/etc/pve/storage.cfg")
		require.NoError(w.t, err)
		require.NoError(w.t, s.WriteFile("/etc/pve/storage.cfg", storages+"\nzfspool: ssd\n\tpool "+pool+"/ssd\n\tcontent images,rootdir\n"))
	}
}

// onSSD reports whether a dataset of the model is in the storage ssd.
func onSSD(name string) bool { return strings.HasPrefix(strings.TrimPrefix(name, "vault/"), "ssd/") }

// labName returns the name that a dataset of the model has in the lab.
func labName(at int, name string) string {
	parents := [...]string{"ta/data/", "tb/data/", "tc/"}
	if onSSD(name) {
		parents = [...]string{"ta/ssd/", "tb/ssd/", "tc/ssd/"}
	}
	return parents[at] + path.Base(name)
}

// Run repeats on a real node a run of snap that cron starts. The runs on A and on B take place at
// the same time.
func (r *replay) Run(node int) {
	s := r.sites[node]
	r.prepareFor("runs")
	args := append([]string{"snap"}, strings.Fields(r.setup.Keep)...)
	r.goOn(runningCommand{what: "runs", then: func(said site.Result) { r.tell(s, args, said) }}, s, append([]string{program(r.t)}, args...)...)
}

// Killed repeats on a real node a run of snap that is killed just before the first zfs command that
// changes a pool.
func (r *replay) Killed(node int) {
	r.follow()
	s := r.sites[node]
	require.NoError(r.t, s.Install("zfs", "#!/bin/sh\ncase $1 in program|destroy|inherit) kill -9 $PPID; exit 1 ;; esac\nexec /usr/sbin/zfs \"$@\"\n"))
	r.world.run(s, append([]string{"snap"}, strings.Fields(r.setup.Keep)...)...)
	require.NoError(r.t, s.Remove(site.BinDir+"/zfs"))
}

// TimePasses brings the lab to the model's state before the model's clock advances.
func (r *replay) TimePasses() { r.follow() }

// Send repeats on the real sites the sending of a disk. syncoid must find a common base if the
// model finds one.
func (r *replay) Send(s sim.Sending) {
	from, to := labName(s.From, s.Name), labName(s.To, s.As)
	r.prepareFor("syncoid")
	r.settle(func(g runningCommand) bool { return g.writes == from || g.writes == to || g.reads == to })
	r.written(r.model.Guests()) // a migration snapshots the guest's disks one after the other
	_, there := r.sets[s.To][s.As]
	if s.Full {
		require.NoError(r.t, site.DestroyDataset(r.ctx, to))
	}
	if s.Proxmox {
		r.goOn(runningCommand{what: "syncoid", reads: from, writes: to, then: func(result site.Result) {
			require.Zero(r.t, result.Code, "%s to %s: %s", from, to, result.Stderr)
		}}, r.c, "sh", "-c", r.pvesr(s))
		return
	}
	argv := []string{"syncoid", "--no-sync-snap", "--compress=none"}
	if r.setup.Properties {
		argv = append(argv, "--sendoptions=p")
	}
	r.goOn(runningCommand{what: "syncoid", reads: from, writes: to, then: func(result site.Result) {
		said := result.Stdout + result.Stderr
		require.Zero(r.t, result.Code, "%s to %s: %s", from, to, said)
		require.Equal(r.t, !there || s.Full, strings.Contains(said, "Sending oldest full snapshot"), "%s to %s: %s", from, to, said)
		for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
			if strings.Contains(line, "ending") {
				r.t.Log(line)
			}
		}
	}}, r.c, append(argv, from, to)...)
}

// pvesr returns the command line with which Proxmox replicates a disk. The command sends the
// snapshots from the disk's last replication up to the present replication.
func (r *replay) pvesr(s sim.Sending) string {
	newest := func(at int, name string) string {
		for _, s := range slices.Backward(r.model.Disks(at)[name].Snapshots) {
			if strings.HasPrefix(s.Name, "__replicate_") {
				return s.Name
			}
		}
		return ""
	}
	send := "zfs send -Rp "
	if base := newest(s.To, s.As); base != "" {
		send += "-I @" + base + " "
	}
	return send + labName(s.From, s.Name) + "@" + newest(s.From, s.Name) + " | zfs receive -u -F " + labName(s.To, s.As)
}

// Sent notes that the received disk has the same state in the lab as in the model.
func (r *replay) Sent(s sim.Sending) { r.sets[s.To][s.As] = r.model.Disks(s.To)[s.As] }

// Prune repeats a run of prune on the real C.
func (r *replay) Prune() {
	r.follow()
	defer r.took("pruning")()
	said := r.world.run(r.c, append([]string{"prune"}, strings.Fields(r.setup.VaultKeeps())...)...)
	require.Zero(r.t, said.Code)
}

// Rotated repeats on a receiving site of the lab the destroys of another program's rotation.
func (r *replay) Rotated(at int, name string, snapshots []string) {
	r.settle(func(g runningCommand) bool { return g.what != "rotation" })
	for i, s := range snapshots {
		snapshots[i] = cmp.Or(r.names[path.Base(name)+"@"+s], s) // unmanaged snapshots have the same names in the model and the lab
	}
	if len(snapshots) > 0 {
		r.goOn(runningCommand{what: "rotation", writes: labName(at, name), then: func(said site.Result) {
			require.Zero(r.t, said.Code, said.Stderr)
		}}, r.c, "zfs", "destroy", labName(at, name)+"@"+strings.Join(snapshots, ","))
	}
}

// Looked compares the pools of the real sites and the verdicts of check on C with the model.
func (r *replay) Looked() {
	r.follow()
	defer r.took("comparing")()
	check, err := r.c.StartAs(r.ctx, "nobody", program(r.t), "check", "--format", "json", "-t", "60s")
	require.NoError(r.t, err)
	r.comparePools()
	result := check.Wait()
	require.NoError(r.t, r.ctx.Err())
	var said checker.Document
	require.NoError(r.t, json.Unmarshal([]byte(result.Stdout), &said))
	got, want := map[string]string{}, map[string]string{}
	for _, d := range said.Disks {
		got[d.Dataset] = d.Verdict
	}
	for name, verdict := range r.model.Verdicts() {
		want[labName(sim.SiteC, name)] = verdict.String()
	}
	require.Equal(r.t, want, got, "the model's verdicts, and those of check on C: %s", result.Stdout)
	r.t.Logf("%s: as in the model, %s after the beginning", r.model.Now().UTC().Format(time.DateTime), time.Since(r.begun).Round(time.Second))
}

// sameBytes asserts that a copy holds the same bytes as its source, for each copy that has the same
// content in the model.
func (r *replay) sameBytes() {
	for name := range r.sets[sim.SiteC] {
		if !strings.HasPrefix(path.Base(name), "vm-") {
			continue
		}
		copied := r.model.Disks(sim.SiteC)[name]
		for at := range 2 {
			disk, there := r.model.Disks(at)[strings.TrimPrefix(name, "vault/")]
			if there && disk.Content == copied.Content {
				r.assertSameBytes(labName(at, disk.Name), labName(sim.SiteC, name))
			}
		}
	}
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
