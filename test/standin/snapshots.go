package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// snapshot takes a snapshot of all of a guest's disks. snapshot holds the lock of the guest's
// configuration while it writes the lock word snapshot, and again while it removes this word, but
// not while it takes the snapshots of the disks.
func (l local) snapshot(name string) error {
	var disks []volume
	err := l.withLock(func() error {
		c, err := l.checkLock()
		if err != nil {
			return err
		}
		if _, used := c.snapshot(name); used {
			return fmt.Errorf("snapshot name '%s' already used", name)
		}
		if c.get("template") == "1" {
			return errors.New("you can't take a snapshot if it's a template")
		}
		if disks, err = c.volumes(false); err != nil {
			return err
		}
		c.addSnapshot(name)
		c.set("lock", "snapshot")
		return c.save()
	})
	if err != nil {
		return err
	}
	err = l.whileFrozen(func() (err error) {
		for _, d := range disks {
			err = errors.Join(err, zfs("snapshot", d.dataset+"@"+name))
		}
		return err
	})
	return errors.Join(err, l.removeLock())
}

// deleteSnapshot removes a snapshot of all of a guest's disks, while the configuration has the
// lock word snapshot-delete.
func (l local) deleteSnapshot(name string) error {
	if err := l.setLock("snapshot-delete"); err != nil {
		return err
	}
	c, err := openConfig(l.path())
	if err != nil {
		return err
	}
	disks, err := c.volumes(false)
	for _, d := range disks {
		err = errors.Join(err, zfs("destroy", d.dataset+"@"+name))
	}
	return errors.Join(err, l.withLock(func() error {
		return l.change(func(c *configFile) error {
			c.removeSnapshot(name)
			c.set("lock", "")
			return nil
		})
	}))
}

// rollback rolls a guest back. rollback checks that the snapshot is the newest snapshot of each
// disk, then stops the guest, then writes the lock word rollback, and then rolls the disks back.
func (l local) rollback(name string) error {
	var disks []volume
	err := l.withLock(func() (err error) {
		c, err := openConfig(l.path())
		if err != nil {
			return err
		}
		if _, found := c.snapshot(name); !found {
			return fmt.Errorf("snapshot '%s' does not exist", name)
		}
		if disks, err = c.volumes(false); err != nil {
			return err
		}
		for _, d := range disks {
			newest, err := newestSnapshot(d.dataset)
			if err != nil {
				return err
			}
			if newest != name {
				return fmt.Errorf("can't rollback, '%s' is not most recent snapshot on '%s:%s'", name, d.storage, d.base())
			}
		}
		if c, err = l.checkLock(); err != nil {
			return err
		}
		if err := l.stop(); err != nil {
			return err
		}
		c.set("lock", "rollback")
		return c.save()
	})
	if err != nil {
		return err
	}
	for _, d := range disks {
		if err := zfs("rollback", d.dataset+"@"+name); err != nil {
			return err
		}
	}
	return l.withLock(func() error {
		return l.change(func(c *configFile) error {
			lines, _ := c.snapshot(name)
			c.current = append([]string{"parent: " + name + "\n"}, lines...)
			return nil
		})
	})
}

func newestSnapshot(dataset string) (string, error) {
	out, err := exec.Command("zfs", "list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "creation", "-s", "createtxg", dataset).Output()
	names := strings.Fields(string(out))
	if err != nil || len(names) == 0 {
		return "", err
	}
	_, name, _ := strings.Cut(names[len(names)-1], "@")
	return name, nil
}
