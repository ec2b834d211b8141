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

// migrate moves a guest to another node, all under both locks: a container is stopped first;
// then comes the word migrate, then the disks go, then the configuration, and the process and
// the disks here last. Where /run/standin/migrate.to names the dataset of the other node's
// storage the disks go there, with their snapshots unless the guest runs; else they stay as if
// they were replicated. Who runs there is the test's to say.
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
	parent, sends := there()
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
			if err := free(d.dataset); err != nil {
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

// there is the dataset of the other node's storage.
func there() (parent string, sends bool) {
	text, err := os.ReadFile(filepath.Join(faultDir, "migrate.to"))
	return strings.TrimSpace(string(text)), err == nil
}

// sendAll sends the disks with all their snapshots. Those of a machine that runs are mirrored
// to new ones.
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

// vzdump backs a guest up: vzdump ID. A machine that is off runs for it, paused; of a container
// that runs a snapshot is taken, and removed afterwards.
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
		err = l.prelaunched(func() error { return takes("copy") })
	case l.kind == "qemu":
		err = errors.Join(l.frozen(func() error { return nil }), takes("copy"))
	case runs:
		err = l.held(func() error {
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
		err = locked(migrateLock(l.id), contract.BackupWait, func() error { return l.deleteSnapshot("vzdump") })
	}
	return err
}

// prelaunched does something while the machine's process is there, and nothing runs in it.
func (l local) prelaunched(do func() error) error {
	state := "/run/qemu-server/" + l.id + ".qmpstatus"
	if err := os.WriteFile(state, []byte("prelaunch"), 0o644); err != nil {
		return err
	}
	err := l.held(func() error {
		c, err := openConfig(l.path())
		return errors.Join(err, l.run(c))
	})
	if err == nil {
		err = do()
	}
	return errors.Join(err, l.held(l.stop), os.Remove(state))
}

// pvesr replicates a guest as far as its lock, its freeze and its snapshots go: pvesr ID.
func pvesr(args []string) error {
	if len(args) != 1 {
		return errors.New("want a guest")
	}
	l, err := findLocal("", args[0])
	if err != nil {
		return err
	}
	return locked(migrateLock(l.id), contract.ReplicateWait, func() error {
		c, err := openConfig(l.path())
		if err != nil {
			return err
		}
		disks, err := c.volumes(true)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("__replicate_%s-0_%d__", l.id, time.Now().Unix())
		err = l.frozen(func() (err error) {
			for _, d := range disks {
				err = errors.Join(err, zfs("snapshot", d.dataset+"@"+name))
			}
			return err
		})
		return errors.Join(err, takes("copy"))
	})
}
