// Package pve reads what Proxmox VE knows about this node: its name, its storages,
// the guests configured on it and whether they live. It asks pvesh for the live
// lists and looks at the files Proxmox itself looks at; it never writes.
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

// Host is where Proxmox keeps its state.
type Host struct {
	// Etc is the cluster's file system, /etc/pve.
	Etc string
	// Run holds the pid files of QEMU guests, below qemu-server.
	Run string
	// Proc is the kernel's process information.
	Proc string
	// Lock holds the locks of guests' configurations.
	Lock string
	// LXC holds what lxc keeps of each container.
	LXC string
	// Cgroup is where cgroup v2 is mounted.
	Cgroup string
	// Tasks is Proxmox's list of active tasks.
	Tasks string
	// Systemd is there while systemd runs the machine, sd_booted(3).
	Systemd string
	// Reader is the command that reads below Etc for this process, by [Answer]; without one
	// this process reads itself. While pmxcfs hangs, whoever reads there waits in the kernel
	// and ends by no signal, with all locks that it has: so it must be another process.
	Reader []string
}

// LocalHost is the machine this process runs on.
func LocalHost() Host {
	return Host{Etc: "/etc/pve", Run: "/run", Proc: "/proc", Lock: "/run/lock", LXC: "/var/lib/lxc", Cgroup: "/sys/fs/cgroup", Tasks: "/var/log/pve/tasks/active", Systemd: "/run/systemd/system"}
}

// Cluster is what stands in Proxmox's configuration, read at one time.
type Cluster struct {
	// Node is this node's name, short, as Proxmox has it.
	Node string
	// Nodes are all nodes of the cluster by name.
	Nodes []string
	// Storages are the ZFS storages that are enabled on this node.
	Storages []Storage
	// Guests are the guests configured on this node, by VMID, those with a [Config.Problem]
	// among them.
	Guests map[int]Config
	// Elsewhere are the guests configured on other nodes, by VMID: the node's name.
	Elsewhere map[int]string
	// HAStarted are the guests that high availability keeps started.
	HAStarted map[int]bool
	// ReplicatedHere are the guests that Proxmox's own replication sends to this node.
	ReplicatedHere map[int]bool
	// Warnings are what in these files is not as it seems: Proxmox reads it in another way
	// than a person does.
	Warnings []string
}

// ErrNotPVE means that this machine is no Proxmox node, or that its cluster file
// system is not mounted.
var ErrNotPVE = errors.New("no Proxmox VE node here: /etc/pve/local is missing (systemctl status pve-cluster)")

// Cluster reads the configuration. /etc/pve is a FUSE file system whose daemon may
// hang, so the end of ctx ends the waiting.
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
		delete(c.Elsewhere, vmid) // it moved while this was read
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

// nodes are the names of the cluster's nodes. What is no directory is somebody's note.
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
			return nil // migrated or destroyed between the listing and now
		}
		if err != nil { // one that cannot be read must not cost the others their snapshots
			config = Config{ID: id, Problem: err.Error()}
		}
		c.Guests[id.VMID] = config
		return nil
	})
}

// guestFile is the name of a guest's configuration. Proxmox takes 0100.conf and +102.conf
// for files of no guest.
var guestFile = regexp.MustCompile(`^([1-9]\d{0,8})\.conf$`)

// eachGuest calls do with each guest that a node has a configuration of, and its path.
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
		return Config{}, fmt.Errorf("%s is no configuration of a guest: it has no option in it", path)
	}
	config := parseConfig(id, string(text))
	config.Text, config.Changed = string(text), info.ModTime()
	return config, nil
}

// Unread are the guests of this node whose configuration could not be read, by VMID.
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

// Installed reports whether Proxmox is on this machine at all, running or not. It looks for
// Etc's name only in the directory above: whoever looks at the mount waits for pmxcfs.
func (h Host) Installed() bool {
	above, err := os.Open(filepath.Dir(h.Etc))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = above.Close() }()
	names, err := above.Readdirnames(-1)
	return err != nil || slices.Contains(names, filepath.Base(h.Etc))
}

// Uptime is how long this machine has been up.
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

// ContainerCgroup is the cgroup that holds a container's processes.
func (h Host) ContainerCgroup(vmid int) string {
	return filepath.Join(h.Cgroup, "lxc", strconv.Itoa(vmid))
}

// GuestConfig reads the configuration of one guest of this node, in this process: it is for
// a moment at which the guest's lock is held and no process may be started. The end of ctx
// ends the waiting.
func (h Host) GuestConfig(ctx context.Context, id ID) (Config, error) {
	config, err := beside(ctx, func() (Config, error) {
		return readConfig(filepath.Join(h.Etc, "local", id.Kind.configDir(), strconv.Itoa(id.VMID)+".conf"), id)
	})
	if err != nil && ctx.Err() != nil {
		return Config{}, fmt.Errorf("reading the configuration of guest %d: %w", id.VMID, context.Cause(ctx))
	}
	return config, err
}
