// Package pve reads from Proxmox VE the state of this node: the node's name, its storages, the
// configured guests and whether they are alive. The package runs pvesh for the live lists and reads
// the files that Proxmox reads; it never writes.
package pve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Host holds the paths at which Proxmox, the kernel and systemd keep their state.
type Host struct {
	// Etc is the path of Proxmox's cluster file system, /etc/pve.
	Etc string
	// Run is the directory that holds qemu-server with the pid files of QEMU guests.
	Run string
	// Proc is the path at which the kernel publishes information about processes, /proc.
	Proc string
	// Lock is the directory of the locks of guests' configurations.
	Lock string
	// LXC is the directory in which each running container has a directory of its own.
	LXC string
	// Cgroup is the mount point of cgroup v2.
	Cgroup string
	// Tasks is the file in which Proxmox lists its active tasks.
	Tasks string
	// Systemd is the path of a directory that exists while systemd runs the machine (see
	// sd_booted(3)).
	Systemd string
	// Reader is the command that reads the files below Etc for this process, by [Answer]. If Reader
	// is empty, this process reads the files itself. The files below Etc are read by a separate
	// process, because a process that reads them while pmxcfs hangs cannot be killed, and keeps all
	// its locks.
	Reader []string
}

// LocalHost returns the standard paths of a Proxmox node.
func LocalHost() Host {
	return Host{Etc: "/etc/pve", Run: "/run", Proc: "/proc", Lock: "/run/lock", LXC: "/var/lib/lxc", Cgroup: "/sys/fs/cgroup", Tasks: "/var/log/pve/tasks/active", Systemd: "/run/systemd/system"}
}

// Cluster is the content of Proxmox's configuration files below /etc/pve, read at one time.
type Cluster struct {
	// Node is this node's short name, as Proxmox writes it.
	Node string
	// Nodes has the names of all nodes of the cluster.
	Nodes []string
	// Storages has the ZFS storages that are enabled on this node.
	Storages []Storage
	// Guests has, by VMID, the guests configured on this node, including guests with a
	// [Config.Problem].
	Guests map[int]Config
	// Elsewhere has, by VMID, the name of the node on which a guest is configured, for each guest
	// that is not configured on this node.
	Elsewhere map[int]string
	// HAStarted is true, by VMID, for each guest that Proxmox's high availability keeps started.
	HAStarted map[int]bool
	// ReplicatedHere has the guests that Proxmox's own replication sends to this node.
	ReplicatedHere map[int]bool
	// Warnings has a text for each line of Proxmox's configuration files that Proxmox understands
	// differently from a person.
	Warnings []string
}

// ErrNotPVE means that this machine is not a Proxmox node, or that the cluster's file system is not
// mounted.
var ErrNotPVE = errors.New("not a Proxmox VE node: /etc/pve/local is missing (systemctl status pve-cluster)")

// Cluster reads Proxmox's configuration files below /etc/pve. Cluster stops waiting when ctx ends,
// because /etc/pve is a FUSE file system whose daemon may hang.
func (h Host) Cluster(ctx context.Context) (Cluster, error) {
	a, err := h.ask(ctx, question{What: "cluster"})
	return a.Cluster, err
}

func (h Host) readCluster() (Cluster, error) {
	local, err := os.Readlink(filepath.Join(h.Etc, "local"))
	if err != nil {
		return Cluster{}, fmt.Errorf("%w: %w", ErrNotPVE, err)
	}
	c := Cluster{Node: filepath.Base(local), Guests: map[int]Config{}, Elsewhere: map[int]string{}}
	if c.Nodes, err = h.nodes(); err != nil {
		return Cluster{}, err
	}
	for _, node := range c.Nodes {
		if err := h.readNode(&c, node); err != nil {
			return Cluster{}, err
		}
	}
	for vmid := range c.Guests {
		delete(c.Elsewhere, vmid) // the guest moved to this node while the files were read
	}
	var storages, ha, replication []string
	if c.Storages, storages, err = readStorages(filepath.Join(h.Etc, "storage.cfg"), c.Node); err != nil {
		return Cluster{}, err
	}
	if c.HAStarted, ha, err = readHA(filepath.Join(h.Etc, "ha", "resources.cfg")); err != nil {
		return Cluster{}, err
	}
	if c.ReplicatedHere, replication, err = readReplication(filepath.Join(h.Etc, "replication.cfg"), c.Node); err != nil {
		return Cluster{}, err
	}
	c.Warnings = slices.Concat(storages, ha, replication)
	for _, vmid := range slices.Sorted(maps.Keys(c.Guests)) {
		c.Warnings = append(c.Warnings, c.Guests[vmid].Warnings...)
	}
	return c, nil
}

// nodes returns the names of the cluster's nodes: the directories in /etc/pve/nodes. nodes ignores
// plain files there.
func (h Host) nodes() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Etc, "nodes"))
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (h Host) readNode(c *Cluster, node string) error {
	return h.eachGuest(node, func(id ID, path string) error {
		if node != c.Node {
			c.Elsewhere[id.VMID] = node
			return nil
		}
		config, err := readConfig(path, id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the guest was migrated or destroyed after the directory was listed
		}
		if err != nil { // this must not prevent the snapshots of other guests
			config = Config{ID: id, Problem: err.Error()}
		}
		c.Guests[id.VMID] = config
		return nil
	})
}

// guestFile matches the file name of a guest's configuration. Proxmox does not accept names such as
// 0100.conf and +102.conf.
var guestFile = regexp.MustCompile(`^([1-9]\d{0,8})\.conf$`)

// eachGuest calls `do` for each guest configured on a node, with the path of the guest's
// configuration.
func (h Host) eachGuest(node string, do func(id ID, path string) error) error {
	for _, kind := range []Kind{QEMU, LXC} {
		dir := filepath.Join(h.Etc, "nodes", node, kind.configDir())
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			name := guestFile.FindStringSubmatch(e.Name())
			if name == nil {
				continue
			}
			vmid, err := strconv.Atoi(name[1])
			if err != nil {
				return err
			}
			if err := do(ID{VMID: vmid, Kind: kind}, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func readConfig(path string, id ID) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return Config{}, err
	}
	if !isConfig(string(text)) {
		return Config{}, fmt.Errorf("%s is not a guest's configuration: the file contains no option", path)
	}
	config := parseConfig(id, string(text))
	config.Text, config.Changed = string(text), info.ModTime()
	return config, nil
}

// Unread returns the VMIDs of this node's guests whose configurations could not be read, sorted.
func (c Cluster) Unread() []int {
	var unread []int
	for vmid, config := range c.Guests {
		if config.Problem != "" {
			unread = append(unread, vmid)
		}
	}
	slices.Sort(unread)
	return unread
}

// Installed reports whether Proxmox is installed on this machine, running or not. Installed
// searches the parent directory of Etc for the name of Etc. Installed does not read Etc itself,
// because a process that reads Etc waits while pmxcfs hangs.
func (h Host) Installed() bool {
	above, err := os.Open(filepath.Dir(h.Etc))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = above.Close() }()
	names, err := above.Readdirnames(-1)
	return err != nil || slices.Contains(names, filepath.Base(h.Etc))
}

// Uptime returns the time since this machine was booted.
func (h Host) Uptime() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(h.Proc, "uptime"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	if err != nil {
		return 0, fmt.Errorf("%s/uptime: %w", h.Proc, err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// ContainerCgroup returns the directory of the cgroup that has a container's processes.
func (h Host) ContainerCgroup(vmid int) string {
	return filepath.Join(h.Cgroup, "lxc", strconv.Itoa(vmid))
}

// GuestConfig reads the configuration of one guest of this node, in this process. A run calls
// GuestConfig while the run holds the guest's lock. While a run holds this lock, the run must not
// start a process. GuestConfig stops waiting when ctx ends.
func (h Host) GuestConfig(ctx context.Context, id ID) (Config, error) {
	config, err := runApart(ctx, func() (Config, error) {
		return readConfig(filepath.Join(h.Etc, "local", id.Kind.configDir(), strconv.Itoa(id.VMID)+".conf"), id)
	})
	if err != nil && ctx.Err() != nil {
		return Config{}, fmt.Errorf("reading the configuration of guest %d: %w", id.VMID, context.Cause(ctx))
	}
	return config, err
}
