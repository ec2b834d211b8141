package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/test/standin/contract"
)

// migrate moves a guest to another node. The caller must hold the guest's configuration lock and
// migration lock. If the guest is a container, migrate first stops the guest. migrate then writes
// the lock word migrate, sends the disks, moves the configuration, ends the guest's process if the
// guest is a virtual machine, and destroys the disks on this node. If /run/standin/migrate.to names
// the dataset of the other node's storage, migrate sends the disks there; the disks of a running
// virtual machine arrive without snapshots. Without the file migrate.to, migrate sends no disks, as
// if the other node already had copies of them. The test itself starts the guest on the other node.
func (l local) migrate(node string, restart bool) error {
	if _, err := l.checkLock(); err != nil {
		return err
	}
	if l.kind == "lxc" && l.pid() != 0 {
		if !restart {
			return errors.New("running container can only be migrated in restart mode")
		}
		if err := l.stop(); err != nil {
			return err
		}
	}
	c, err := l.checkLock()
	if err != nil {
		return err
	}
	disks, err := c.volumes(true)
	if err != nil {
		return err
	}
	c.set("lock", "migrate")
	if err := c.save(); err != nil {
		return err
	}
	parent, sends := migrationTarget()
	if err = takes("copy"); err == nil && sends {
		err = l.sendAll(disks, parent)
	}
	if err != nil {
		return errors.Join(err, l.change(func(c *configFile) error { c.set("lock", ""); return nil }))
	}
	moved := "/etc/pve/nodes/" + node + "/" + configDirs[l.kind] + "/" + l.id + ".conf"
	if err := os.Rename(l.path(), moved); err != nil {
		return err
	}
	if err := l.stop(); err != nil {
		return err
	}
	if sends {
		for _, d := range disks {
			if err := destroyDisk(d.dataset); err != nil {
				return err
			}
		}
	}
	if c, err = openConfig(moved); err != nil {
		return err
	}
	c.set("lock", "")
	return c.save()
}

// migrationTarget returns the content of /run/standin/migrate.to: the dataset below which a
// migration must create the guest's disks. The result `sends` is false if no test has written the
// file migrate.to.
func migrationTarget() (parent string, sends bool) {
	text, err := os.ReadFile(filepath.Join(faultDir, "migrate.to"))
	return strings.TrimSpace(string(text)), err == nil
}

// sendAll sends a guest's disks with all their snapshots. The disks of a running virtual machine
// become new disks without snapshots, as if QEMU mirrored them.
func (l local) sendAll(disks []volume, parent string) error {
	for _, d := range disks {
		to := parent + "/" + d.base()
		if l.pid() != 0 {
			if err := allocate(d.dataset, to); err != nil {
				return err
			}
			continue
		}
		if err := zfs("snapshot", d.dataset+"@__migration__"); err != nil {
			return err
		}
		pipe := fmt.Sprintf("set -e; zfs send -Rp %s@__migration__ | zfs receive -F %s; zfs destroy %s@__migration__", d.dataset, to, to)
		if out, err := exec.Command("sh", "-c", pipe).CombinedOutput(); err != nil {
			return fmt.Errorf("sending %s: %s", d.dataset, out)
		}
	}
	return nil
}

// vzdump backs up a guest: vzdump ID. For the backup of a virtual machine that is off, vzdump
// starts the machine in a paused state. For the backup of a running container, vzdump takes a
// snapshot and removes the snapshot afterwards.
func vzdump(args []string) error {
	if len(args) != 1 {
		return errors.New("want a guest")
	}
	l, err := findLocal("", args[0])
	if err != nil {
		return err
	}
	return task("vzdump", l.id, l.backUp)
}

func (l local) backUp() error {
	err := l.setLock("backup")
	if err != nil {
		return err
	}
	runs := l.pid() != 0
	switch {
	case l.kind == "qemu" && !runs:
		err = l.whilePrelaunched(func() error { return takes("copy") })
	case l.kind == "qemu":
		err = errors.Join(l.whileFrozen(func() error { return nil }), takes("copy"))
	case runs:
		err = l.withLock(func() error {
			inside := l
			inside.has = true
			return errors.Join(inside.removeLock(), inside.snapshot("vzdump"), inside.setLock("backup"))
		})
		if err == nil {
			err = takes("copy")
		}
	default:
		err = takes("copy")
	}
	err = errors.Join(err, l.removeLock())
	if l.kind == "lxc" && runs && err == nil {
		err = withFileLock(migrateLock(l.id), contract.BackupWait, func() error { return l.deleteSnapshot("vzdump") })
	}
	return err
}

// whilePrelaunched calls the function `do` while the virtual machine's process exists but its guest
// system does not run.
func (l local) whilePrelaunched(do func() error) error {
	state := "/run/qemu-server/" + l.id + ".qmpstatus"
	if err := os.WriteFile(state, []byte("prelaunch"), 0o644); err != nil {
		return err
	}
	err := l.withLock(func() error {
		c, err := openConfig(l.path())
		return errors.Join(err, l.run(c))
	})
	if err == nil {
		err = do()
	}
	return errors.Join(err, l.withLock(l.stop), os.Remove(state))
}

// pvesr plays Proxmox's replication of a guest (pvesr ID): it takes the same locks, freezes the
// guest and takes snapshots in the same order, but sends no data.
func pvesr(args []string) error {
	if len(args) != 1 {
		return errors.New("want a guest")
	}
	l, err := findLocal("", args[0])
	if err != nil {
		return err
	}
	return withFileLock(migrateLock(l.id), contract.ReplicateWait, func() error {
		c, err := openConfig(l.path())
		if err != nil {
			return err
		}
		disks, err := c.volumes(true)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("__replicate_%s-0_%d__", l.id, time.Now().Unix())
		err = l.whileFrozen(func() (err error) {
			for _, d := range disks {
				err = errors.Join(err, zfs("snapshot", d.dataset+"@"+name))
			}
			return err
		})
		return errors.Join(err, takes("copy"))
	})
}
