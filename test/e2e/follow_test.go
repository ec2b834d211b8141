//go:build e2e

package e2e

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
	"snapwatch/test/sim"
	"snapwatch/test/site"
)

// backToday sets the machine's clock back to the real time at the end of the test.
func (w *world) backToday() {
	begun := time.Now()
	w.t.Cleanup(func() {
		today := syscall.NsecToTimeval(begun.Round(0).Add(time.Since(begun)).UnixNano())
		require.NoError(w.t, syscall.Settimeofday(&today))
	})
}

// runningCommand is a command in the lab that may run at the same time as other commands of its
// kind. The fields are the kind of the command, the dataset that is read, the dataset that is
// written, the process of the command, and a function that checks the command's result.
type runningCommand struct {
	what, reads, writes string
	process             *site.Process
	then                func(site.Result)
}

// goOn starts a command in the lab, and does not wait for the command's end. If two commands for
// each processor are already running, goOn first waits for the end of one of these: a command
// mostly waits for ZFS's transaction groups and uses little processor time.
func (r *replay) goOn(g runningCommand, on *site.Site, argv ...string) {
	r.t.Helper()
	if len(r.going) >= 2*runtime.NumCPU() {
		r.ends(0)
	}
	var err error
	g.process, err = on.Start(r.ctx, argv...)
	require.NoError(r.t, err)
	r.going = append(r.going, g)
}

// prepareFor prepares the lab for a command of the given kind. If commands of the given kind are
// running, prepareFor does nothing. If commands of another kind are running, or no command is
// running, prepareFor waits for the end of all running commands and brings the lab to the model's
// state.
func (r *replay) prepareFor(kind string) {
	r.t.Helper()
	if len(r.going) == 0 || r.going[0].what != kind {
		r.follow()
	}
}

func all(runningCommand) bool { return true }

// settle waits for the end of the running commands for which inTheWay returns true.
func (r *replay) settle(inTheWay func(runningCommand) bool) {
	r.t.Helper()
	for i := 0; i < len(r.going); {
		if inTheWay(r.going[i]) {
			r.ends(i)
		} else {
			i++
		}
	}
}

// ends waits for the end of the running command with index i, and checks the command's result.
func (r *replay) ends(i int) {
	r.t.Helper()
	g := r.going[i]
	r.going = slices.Delete(r.going, i, i+1)
	done := r.took(g.what)
	said := g.process.Wait()
	done()
	require.NoError(r.t, r.ctx.Err(), g.what)
	g.then(said)
}

// follow waits for the end of all running commands and then brings the lab's guests, disks and
// clock to the model's state.
func (r *replay) follow() {
	r.t.Helper()
	r.settle(all)
	defer r.took("following")()
	if ahead := time.Until(r.model.Now()); ahead > 0 {
		r.advanceClock(ahead)
	}
	guests := r.model.Guests()
	for _, g := range guests {
		r.end(g)
	}
	r.datasets()
	r.written(guests)
	r.wanted(guests)
	for _, g := range guests {
		r.configure(g)
		r.startGuest(g)
		r.guests[g.VMID] = g
	}
	for node := range 2 {
		r.faults(node)
	}
}

// lives reports whether a guest has a process.
func lives(g sim.Guest) bool { return g.Alive || g.Prelaunch }

// goesOn reports whether a guest still has the process that the guest had at the last call of
// follow. The first argument is the guest's state at the last call of follow, and the second
// argument is the guest's present state.
func goesOn(was, is sim.Guest) bool {
	return lives(was) && lives(is) && was.Node == is.Node && was.Prelaunch == is.Prelaunch && was.Since.Equal(is.Since) && !is.Gone
}

// end ends a guest's process in the lab if this process has ended in the model, even if the guest
// has a new process in the model. Sometimes the method end kills the process, as a crash would.
func (r *replay) end(g sim.Guest) {
	was := r.guests[g.VMID]
	if !lives(was) || goesOn(was, g) {
		return
	}
	end := r.sites[was.Node].StopGuest
	if len(r.guids)%3 == 0 {
		end = r.sites[was.Node].KillGuest
	}
	require.NoError(r.t, end(g.VMID))
}

// datasets creates on the lab's nodes the disks that the model has created, and destroys those that
// the model has destroyed.
func (r *replay) datasets() {
	for at := range 2 {
		is := r.model.Disks(at)
		r.renamed(at, is)
		for _, name := range sorted(r.sets[at]) {
			if is[name].GUID != r.sets[at][name].GUID {
				require.NoError(r.t, site.DestroyDataset(r.ctx, labName(at, name)))
				delete(r.sets[at], name)
			}
		}
		for _, name := range sorted(is) {
			if _, there := r.sets[at][name]; there {
				continue
			}
			switch origin, snapshot, cloned := strings.Cut(is[name].Origin, "@"); {
			case cloned:
				r.zfs("clone", labName(at, origin)+"@"+snapshot, labName(at, name))
			case strings.Contains(name, "subvol-"):
				require.NoError(r.t, site.CreateFilesystem(r.ctx, labName(at, name)))
			default:
				require.NoError(r.t, site.CreateZvol(r.ctx, labName(at, name), firstSize))
			}
			r.sets[at][name] = sim.Disk{GUID: is[name].GUID}
		}
	}
}

// firstSize is the size of a new disk in MiB. Each enlargement of a disk adds one MiB.
const firstSize = 8

// renamed renames the disks in the lab that the model has renamed.
func (r *replay) renamed(at int, is map[string]sim.Disk) {
	for _, old := range sorted(r.sets[at]) {
		if _, there := is[old]; there {
			continue
		}
		for _, name := range sorted(is) {
			if _, known := r.sets[at][name]; !known && is[name].GUID == r.sets[at][old].GUID {
				r.zfs("rename", labName(at, old), labName(at, name))
				r.sets[at][name] = r.sets[at][old]
				delete(r.sets[at], old)
				break
			}
		}
	}
}

// written writes to the lab's disks and takes unmanaged snapshots of them, as the model did, in the
// same order.
func (r *replay) written(guests []sim.Guest) {
	r.t.Helper()
	if script := r.unwritten(guests); script != "" {
		r.pipe("set -e\n" + script + "zpool sync ta tb\n")
	}
}

// unwritten returns the shell script for all writes and unmanaged snapshots that the lab has not
// made yet.
func (r *replay) unwritten(guests []sim.Guest) string {
	var script strings.Builder
	for _, g := range guests {
		for _, name := range g.Disks {
			is, there := r.model.Disks(g.Node)[name]
			if !there {
				continue
			}
			was := r.sets[g.Node][name]
			for _, s := range is.Snapshots {
				if _, ours := s.Class(); ours || slices.ContainsFunc(was.Snapshots, func(o zfs.Snapshot) bool { return o.GUID == s.GUID }) {
					continue
				}
				if content := r.model.Content(s.GUID); content != was.Content {
					r.writeTo(&script, labName(g.Node, name))
					was.Content = content
				}
				fmt.Fprintf(&script, "zfs snapshot %s@%s\n", labName(g.Node, name), s.Name)
			}
			if is.Size != was.Size {
				property := "volsize"
				if g.Kind == pve.LXC {
					property = "refquota"
				}
				fmt.Fprintf(&script, "zfs set %s=%dM %s\n", property, firstSize+is.Size, labName(g.Node, name))
			}
			if is.RolledBack != was.RolledBack {
				i := slices.IndexFunc(is.Snapshots, func(s zfs.Snapshot) bool { return s.GUID == is.RolledBack })
				require.GreaterOrEqual(r.t, i, 0, "%s was rolled back to what is gone", name)
				r.writeTo(&script, labName(g.Node, name))
				fmt.Fprintf(&script, "zfs rollback %s@%s\n", labName(g.Node, name), is.Snapshots[i].Name)
				was.Content = is.Content
			}
			if is.Content != was.Content {
				r.writeTo(&script, labName(g.Node, name))
			}
			r.sets[g.Node][name] = is
		}
	}
	return script.String()
}

// writeTo adds a write of a few random KiB to a script. The write is synchronous, because in the
// model each written disk has an intent log.
func (r *replay) writeTo(script *strings.Builder, dataset string) {
	if strings.Contains(dataset, "/subvol-") {
		fmt.Fprintf(script, "mkdir -p /tmp/mnt; mount -t zfs -o zfsutil %s /tmp/mnt; dd if=/dev/urandom of=/tmp/mnt/file bs=4k count=1 conv=fsync status=none; umount /tmp/mnt\n", dataset)
		return
	}
	fmt.Fprintf(script, "i=0; until [ -b /dev/zvol/%[1]s ]; do sleep 0.1; i=$((i + 1)); [ $i -lt 300 ] || { ls -lR /dev/zvol >&2; ls /dev/zd* >&2; ps ax | grep -i udev >&2; exit 1; }; done\ndd if=/dev/urandom of=/dev/zvol/%[1]s bs=4k count=4 conv=notrunc,fsync status=none\n", dataset)
}

// configure writes a guest's configuration file in the lab with the configuration that the guest
// has in the model.
func (r *replay) configure(g sim.Guest) {
	was, known := r.guests[g.VMID]
	known = known && !was.Gone
	node := r.sites[g.Node]
	switch {
	case g.Gone && known:
		require.NoError(r.t, r.sites[was.Node].RemoveGuest(g.VMID))
		return
	case g.Gone:
		return
	case known && was.Node != g.Node:
		require.NoError(r.t, r.sites[was.Node].MoveGuestTo(g.VMID, node))
	}
	if !known || !slices.Equal(was.Disks, g.Disks) {
		add := node.AddVM
		if g.Kind == pve.LXC {
			add = node.AddContainer
		}
		var volumes []string
		for _, name := range g.Disks {
			volume := zfs.Base(name)
			if onSSD(name) {
				volume = "ssd:" + volume
			}
			volumes = append(volumes, volume)
		}
		require.NoError(r.t, add(g.VMID, volumes...))
		was.Lock = ""
		if g.Template {
			require.NoError(r.t, node.SetTemplate(g.VMID))
		}
	}
	if was.Lock != g.Lock {
		require.NoError(r.t, node.SetLock(g.VMID, g.Lock))
	}
}

// wanted writes Proxmox's file of high availability resources in the lab, for the model's guests.
func (r *replay) wanted(guests []sim.Guest) {
	var resources strings.Builder
	changed := false
	for _, g := range guests {
		changed = changed || g.HA != r.guests[g.VMID].HA
		if g.HA {
			fmt.Fprintf(&resources, "%s: %d\n\tstate started\n\n", map[pve.Kind]string{pve.QEMU: "vm", pve.LXC: "ct"}[g.Kind], g.VMID)
		}
	}
	if changed {
		require.NoError(r.t, r.a.WriteFile("/etc/pve/ha/resources.cfg", resources.String()))
	}
}

// startGuest starts a guest's process in the lab if the model has started the guest.
func (r *replay) startGuest(g sim.Guest) {
	node := r.sites[g.Node]
	if was := r.guests[g.VMID]; lives(g) && !g.Gone && !goesOn(was, g) {
		r.start(node, g.VMID)
	}
	if g.Kind == pve.QEMU {
		status := "running"
		if g.Prelaunch {
			status = "prelaunch"
		} else if g.Paused {
			status = "paused"
		}
		require.NoError(r.t, node.SetQMPStatus(g.VMID, status))
	}
}

// faults makes pvesh and systemd of a node answer as in the model.
func (r *replay) faults(node int) {
	s := r.sites[node]
	require.NoError(r.t, s.ClearPveshFault())
	fault := func(kinds ...string) {
		for _, kind := range kinds {
			require.NoError(r.t, s.SetPveshFault(kind, "no answer\n"))
		}
	}
	switch r.model.Pvesh(node) {
	case "fails":
		fault("fail")
	case "says unknown":
		fault("unknown", "fail.current")
	case "lists nothing":
		fault("empty.qemu", "empty.lxc", "fail.current")
	}
	boot := "active"
	if r.model.Booting(node) {
		boot = "activating"
	}
	require.NoError(r.t, s.WriteFile("/run/boot", boot))
}
