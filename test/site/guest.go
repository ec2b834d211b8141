package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
)

// AddVM configures a virtual machine on the node. AddVM does not create the disks. Each disk is
// the name of a volume of the storage local-zfs, such as vm-100-disk-0, or STORAGE:VOLUME.
func (s *Site) AddVM(vmid int, disks ...string) error {
	var c strings.Builder
	fmt.Fprintf(&c, "boot: order=scsi0\ncores: 1\nmemory: 512\nname: vm%d\nostype: l26\n", vmid)
	for i, d := range disks {
		fmt.Fprintf(&c, "scsi%d: %s,size=1G\n", i, volume(d))
	}
	c.WriteString("scsihw: virtio-scsi-single\n")
	return s.WriteFile(s.configPath("qemu-server", vmid), c.String())
}

// AddContainer configures a container on the node. The first disk is the container's root file
// system.
func (s *Site) AddContainer(vmid int, disks ...string) error {
	var c strings.Builder
	fmt.Fprintf(&c, "arch: amd64\ncores: 1\nhostname: ct%d\nmemory: 512\nostype: debian\nswap: 512\n", vmid)
	for i, d := range disks {
		key, mount := "rootfs", ""
		if i > 0 {
			key = fmt.Sprintf("mp%d", i-1)
			mount = ",mp=/" + key
		}
		fmt.Fprintf(&c, "%s: %s%s,size=1G\n", key, volume(d), mount)
	}
	return s.WriteFile(s.configPath("lxc", vmid), c.String())
}

func volume(disk string) string {
	if strings.Contains(disk, ":") {
		return disk
	}
	return "local-zfs:" + disk
}

func (s *Site) configPath(kind string, vmid int) string {
	return fmt.Sprintf("/etc/pve/nodes/%s/%s/%d.conf", s.Node, kind, vmid)
}

// guest returns the kind of a guest of this node, qemu-server or lxc, and the content of its
// configuration file.
func (s *Site) guest(vmid int) (kind, config string, err error) {
	for _, kind = range []string{"qemu-server", "lxc"} {
		config, err = s.ReadFile(s.configPath(kind, vmid))
		if !errors.Is(err, fs.ErrNotExist) {
			return kind, config, err
		}
	}
	return "", "", fmt.Errorf("site %s: no guest %d is configured", s.Name, vmid)
}

// Configuration returns the content of the guest's configuration file on this node.
func (s *Site) Configuration(vmid int) (string, error) {
	_, config, err := s.guest(vmid)
	return config, err
}

// SetOption sets an option in the current section of a guest's configuration; an empty value
// removes the option.
func (s *Site) SetOption(vmid int, key, value string) error {
	kind, config, err := s.guest(vmid)
	if err != nil {
		return err
	}
	var c strings.Builder
	if value != "" {
		fmt.Fprintf(&c, "%s: %s\n", key, value)
	}
	current := true
	for line := range strings.Lines(config) {
		current = current && !strings.HasPrefix(line, "[")
		if !current || !strings.HasPrefix(line, key+":") {
			c.WriteString(line)
		}
	}
	return s.WriteFile(s.configPath(kind, vmid), c.String())
}

// SetLock sets the lock word in the guest's configuration, such as backup or migrate; an empty word
// removes the lock.
func (s *Site) SetLock(vmid int, lock string) error { return s.SetOption(vmid, "lock", lock) }

// SetTemplate makes the guest a template.
func (s *Site) SetTemplate(vmid int) error { return s.SetOption(vmid, "template", "1") }

// RemoveGuest removes the guest's configuration but keeps the guest's disks.
func (s *Site) RemoveGuest(vmid int) error {
	kind, _, err := s.guest(vmid)
	if err != nil {
		return err
	}
	return s.Remove(s.configPath(kind, vmid))
}

// MoveGuestTo moves the guest's configuration to another node of the cluster, as the last step of a
// migration does. The guest's disks and a running process remain on this node.
func (s *Site) MoveGuestTo(vmid int, other *Site) error {
	kind, _, err := s.guest(vmid)
	if err != nil {
		return err
	}
	return s.Inside(func() error { return os.Rename(s.configPath(kind, vmid), other.configPath(kind, vmid)) })
}

var diskLine = regexp.MustCompile(`^(?:ide|sata|scsi|virtio|efidisk|tpmstate)\d+:\s*local-zfs:([^,\s]+)`)

// StartGuest starts the guest's process and returns when this process runs and holds the guest's
// disks open. The guest's process runs until StopGuest or KillGuest, even after ctx ends.
func (s *Site) StartGuest(ctx context.Context, vmid int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guests[vmid] != nil {
		return fmt.Errorf("site %s: guest %d is already running", s.Name, vmid)
	}
	kind, config, err := s.guest(vmid)
	if err != nil {
		return err
	}
	argv := []string{"/usr/bin/lxc-start", "-F", "-n", fmt.Sprint(vmid)}
	if kind == "qemu-server" {
		argv = []string{"/usr/bin/kvm", "-id", fmt.Sprint(vmid), "-name", fmt.Sprintf("vm%d,debug-threads=on", vmid),
			"-no-shutdown", "-pidfile", fmt.Sprintf("/var/run/qemu-server/%d.pid", vmid)}
		for line := range strings.Lines(config) {
			if strings.HasPrefix(line, "[") {
				break
			}
			m := diskLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			// The Proxmox configuration names the volume of a linked clone BASE/DISK.
			disk := path.Join(s.Pool, "data", path.Base(m[1]))
			if err := WaitZvol(ctx, disk); err != nil {
				return err
			}
			argv = append(argv, "-drive", "file=/dev/zvol/"+disk+",format=raw")
		}
	}
	p, err := s.Start(context.WithoutCancel(ctx), argv...)
	if err != nil {
		return err
	}
	if err := p.WaitFor(ctx, "ready"); err != nil {
		p.Kill()
		return err
	}
	s.guests[vmid] = p
	return nil
}

// StopGuest ends the guest's process in an orderly way.
func (s *Site) StopGuest(vmid int) error { return s.endGuest(vmid, (*Process).Stop) }

// KillGuest ends the guest's process as a crash does. The pid file of a virtual machine remains.
func (s *Site) KillGuest(vmid int) error { return s.endGuest(vmid, (*Process).Kill) }

func (s *Site) endGuest(vmid int, end func(*Process) Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.guests[vmid]
	if p == nil {
		return fmt.Errorf("site %s: guest %d is not running", s.Name, vmid)
	}
	end(p)
	delete(s.guests, vmid)
	return nil
}

// HoldFlock takes the lock that Proxmox holds while it starts, stops, rolls back or reconfigures
// the guest, and holds the lock until release is called.
func (s *Site) HoldFlock(vmid int) (release func() error, err error) {
	kind, _, err := s.guest(vmid)
	if err != nil {
		return nil, err
	}
	if kind == "lxc" {
		return s.lockFile(fmt.Sprintf("/run/lock/lxc/pve-config-%d.lock", vmid))
	}
	return s.lockFile(fmt.Sprintf("/var/lock/qemu-server/lock-%d.conf", vmid))
}

// HoldMigrateLock takes the lock that Proxmox holds while it migrates, replicates or rolls back the
// guest, and holds the lock until release is called.
func (s *Site) HoldMigrateLock(vmid int) (release func() error, err error) {
	return s.lockFile(fmt.Sprintf("/var/lock/pve-manager/pve-migrate-%d", vmid))
}
