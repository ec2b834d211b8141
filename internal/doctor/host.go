package doctor

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/text"
)

func configuration(f Facts) []Finding {
	if f.ConfigErr != nil {
		return fail("configuration", "correct the file; until then, every command refuses to run", "%v", f.ConfigErr)
	}
	return ok("configuration", "can be used")
}

func node(f Facts) []Finding {
	const topic = "node"
	short, _, _ := strings.Cut(f.WantNode, ".")
	host, _, _ := strings.Cut(f.Node.Hostname, ".")
	switch {
	case !f.Node.PVE && f.Role == "replica":
		return ok(topic, "not a Proxmox node: this host only receives")
	case !f.Node.PVE:
		return ok(topic, "not a Proxmox node: snap has no work here, but check and exporter do")
	case f.Node.Err != nil:
		return fail(topic, "systemctl status pve-cluster", "Proxmox's configuration can't be read: %v", f.Node.Err)
	case f.WantNode != "" && short != f.Node.Name:
		return fail(topic, "correct node: in the configuration, or remove it", "Proxmox calls this node %s, the configuration %s", f.Node.Name, f.WantNode)
	case host != f.Node.Name:
		return warn(topic, "labels use Proxmox's name for the node; older labels with the kernel's name count as another node's: snapwatch snap --dry-run shows the effect",
			"Proxmox calls this node %s, the kernel %s", f.Node.Name, f.Node.Hostname)
	}
	return ok(topic, "%s", f.Node.Name)
}

// files returns a finding for the lines in Proxmox's files that Proxmox understands differently
// from a person.
func files(f Facts) []Finding {
	var all []Finding
	for _, text := range f.Node.Warnings {
		all = append(all, warn("/etc/pve", "correct the line", "%s", text)...)
	}
	return all
}

// slowPvesh is the time above which a call of pvesh is suspicious. A call of pvesh usually takes
// one or two seconds.
const slowPvesh = 10 * time.Second

func pvesh(f Facts) []Finding {
	const topic = "pvesh"
	switch {
	case !f.primary() || f.Node.Err != nil:
		return nil
	case f.Node.PveshErr != nil && !f.Root:
		return warn(topic, "run snapwatch doctor as root", "not asked: %v", f.Node.PveshErr)
	case f.Node.PveshErr != nil:
		return fail(topic, "run pvesh get /nodes/localhost/qemu by hand; until pvesh answers, no guest counts as stopped", "%v", f.Node.PveshErr)
	case f.Node.Listed == 0 && f.Node.Configured > 0:
		return fail(topic, "systemctl status pve-cluster pvestatd", "lists no guest, while %d are configured here", f.Node.Configured)
	case f.Node.PveshTook > slowPvesh:
		return warn(topic, "find the cause: a storage that does not answer, a full /var, high load", "needed %s to list the guests", f.Node.PveshTook.Round(time.Second))
	}
	return ok(topic, "lists %s", text.Count(f.Node.Listed, "guest"))
}

func storages(f Facts) []Finding {
	const topic = "storages"
	switch {
	case !f.primary() || f.Node.Err != nil:
		return nil
	case len(f.Node.Storages) == 0:
		return fail(topic, "enable a zfspool storage on this node, or name datasets: in the configuration",
			"no ZFS storage is enabled on this node in /etc/pve/storage.cfg")
	case len(f.Node.Absent) > 0:
		return warn(topic, "import the pool, or disable the storage", "missing datasets: %s", strings.Join(f.Node.Absent, ", "))
	}
	return ok(topic, "%s", strings.Join(f.Node.Storages, ", "))
}

func software(f Facts) []Finding {
	const topic = "ZFS"
	z := f.ZFS
	switch {
	case z.Err != nil:
		return fail(topic, "modprobe zfs, apt install zfsutils-linux", "%v", z.Err)
	case z.DeviceErr != nil:
		return fail(topic, "ls -l /dev/zfs: all users need rw; in a service DeviceAllow=/dev/zfs rw", "%v", z.DeviceErr)
	case older(z.Kernel, 2, 1):
		return warn(topic, "upgrade OpenZFS; 2.1 is the oldest tested version", "version %s", z.Kernel)
	case z.Userland != "" && z.Kernel != "" && z.Userland != z.Kernel:
		return warn(topic, "reboot after an upgrade of ZFS", "zfs is %s, the kernel's module %s", z.Userland, z.Kernel)
	}
	return ok(topic, "version %s", z.Kernel)
}

func older(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	return err == nil && err2 == nil && (a < major || a == major && b < minor)
}

func pools(f Facts) []Finding {
	const topic = "pool"
	var all []Finding
	for _, want := range f.Pools {
		if !slices.ContainsFunc(f.Found, func(p Pool) bool { return p.Name == want }) {
			all = append(all, fail(topic, "zpool import "+want+", or remove it from pools: in the configuration", "%s is not imported", want)...)
		}
	}
	for _, p := range f.Found {
		fills := "zfs list -o space -S used " + p.Name + "; destroy what is not needed, or keep fewer snapshots"
		switch {
		case p.Err != nil:
			all = append(all, fail(topic, "zpool status "+p.Name, "%s: %v", p.Name, p.Err)...)
		case p.Full && p.Critical:
			all = append(all, fail(topic, fills, "%s: %s", p.Name, p.Unwell)...)
		case p.Full:
			all = append(all, warn(topic, fills, "%s: %s", p.Name, p.Unwell)...)
		case p.Unwell != "" && p.Critical:
			all = append(all, fail(topic, "zpool status -v "+p.Name, "%s: %s", p.Name, p.Unwell)...)
		case p.Unwell != "":
			all = append(all, warn(topic, "zpool status "+p.Name, "%s: %s", p.Name, p.Unwell)...)
		case p.Short != "":
			all = append(all, warn(topic, fills, "%s: %s", p.Name, p.Short)...)
		case p.Bookmarks == "disabled":
			all = append(all, warn(topic, "zpool set feature@bookmarks=enabled "+p.Name+", or bookmarks: 0",
				"%s: snapwatch cannot make bookmarks, which a receiver needs after a long absence", p.Name)...)
		case p.Lists:
			all = append(all, warn(topic, "nothing: snapwatch works, but slower; please report this version of OpenZFS to the project (zfs version)",
				"%s: this OpenZFS does not print a disk's newest snapshot (prevsnap), so snapwatch lists the snapshots", p.Name)...)
		default:
			all = append(all, ok(topic, "%s", p.Name)...)
		}
	}
	if len(all) == 0 {
		return fail(topic, "zpool import", "no pool is imported")
	}
	return all
}

// A timer makes root's report of permanent errors every hour. If the report is older than
// damageOld, doctor warns.
const damageOld = 3 * time.Hour

// damage returns a finding if neither a timer nor a run of snap or prune by root reads the list of
// files and datasets with permanent errors regularly.
func damage(f Facts) []Finding {
	const topic, do = "errors", "systemctl enable --now snapwatch-health.timer"
	switch age := f.Now.Sub(f.DamageAt); {
	case len(f.Found) == 0:
		return nil
	case f.DamageAt.IsZero():
		return warn(topic, do, "root never looked where pools have permanent errors, so check could not name a damaged disk")
	case age > damageOld:
		return warn(topic, do, "root last looked %s ago where pools have permanent errors", short(age))
	}
	return ok(topic, "root regularly looks where pools have permanent errors")
}
