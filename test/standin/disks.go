package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"snapwatch/test/standin/contract"
)

// template turns a guest into a template: it renames each disk and takes the disk's snapshot
// __base__. The caller must hold the lock of the guest's configuration. The configuration of a
// virtual machine is marked as a template before its disks are renamed.
func (l local) template() error {
	c, err := l.checkLock()
	switch {
	case err != nil:
		return err
	case c.snapshots():
		return fmt.Errorf("unable to create template, because %s contains snapshots", l.word())
	case c.get("template") == "1":
		return errors.New("you can't convert a template to a template")
	case l.pid() != 0:
		return fmt.Errorf("you can't convert a %s to template if the %s is running", l.word(), l.word())
	}
	disks, err := c.volumes(false)
	if err != nil {
		return err
	}
	if l.kind == "qemu" {
		c.set("template", "1")
		if err := c.save(); err != nil {
			return err
		}
	}
	for _, d := range disks {
		base := strings.NewReplacer("subvol-", "basevol-", "vm-", "base-").Replace(d.base())
		made := filepath.Dir(d.dataset) + "/" + base
		if err := errors.Join(zfs("rename", d.dataset, made), zfs("snapshot", made+"@__base__")); err != nil {
			return err
		}
		d.name = base
		c.set(d.key, d.String())
	}
	c.set("template", "1")
	return c.save()
}

// clone makes a new guest from an old one: a linked clone if the old guest is a template, otherwise
// a full clone without copied data. If the old guest is a virtual machine, clone holds the old
// guest's lock until clone returns: a shared lock if the machine is off, an exclusive lock
// otherwise. If the old guest is a container, clone holds no lock, but sets the lock word disk.
func (l local) clone(id string) error {
	if l.kind == "lxc" {
		if err := l.setLock("disk"); err != nil {
			return err
		}
		return errors.Join(l.cloneTo(id, "create"), l.removeLock())
	}
	how := syscall.LOCK_SH
	if l.pid() != 0 {
		how = syscall.LOCK_EX
	}
	return lockedAs(how, configLock(l.kind, l.id), contract.CloneWait, func() error {
		return withFileLock(configLock(l.kind, id), contract.CloneWait, func() error {
			if _, err := l.checkLock(); err != nil {
				return err
			}
			return l.cloneTo(id, "clone")
		})
	})
}

// cloneTo makes the new guest of a clone. The new guest's configuration has the lock word until the
// clone is complete.
func (l local) cloneTo(id, word string) error {
	c, err := openConfig(l.path())
	if err != nil {
		return err
	}
	to := &configFile{path: filepath.Join(filepath.Dir(l.path()), id+".conf"), current: slices.DeleteFunc(slices.Clone(c.current), func(line string) bool {
		return strings.HasPrefix(line, "unused") || strings.HasPrefix(line, "parent:")
	})}
	if exists(to.path) {
		return fmt.Errorf("unable to create %s %s: config file already exists", l.word(), id)
	}
	disks, err := c.volumes(false)
	if err != nil {
		return err
	}
	to.set("template", "")
	to.set("lock", word)
	if err := to.save(); err != nil {
		return err
	}
	for _, d := range disks {
		name, err := freeName(filepath.Dir(d.dataset), l.kind, id)
		if err != nil {
			return err
		}
		linked := d
		linked.name = name
		if c.get("template") == "1" {
			linked.name = d.base() + "/" + name
			err = zfs("clone", d.dataset+"@__base__", filepath.Dir(d.dataset)+"/"+name)
		} else {
			err = errors.Join(allocate(d.dataset, filepath.Dir(d.dataset)+"/"+name), takes("copy"))
		}
		if err != nil {
			return err
		}
		to.set(d.key, linked.String())
	}
	to.set("lock", "")
	return to.save()
}

// freeName returns the first disk name of the guest that no dataset below parent has.
func freeName(parent, kind, id string) (string, error) {
	for n := range 100 {
		name := fmt.Sprintf("%s-%s-disk-%d", map[string]string{"qemu": "vm", "lxc": "subvol"}[kind], id, n)
		if exec.Command("zfs", "list", parent+"/"+name).Run() != nil {
			return name, nil
		}
	}
	return "", errors.New("unable to find free name")
}

// allocate creates a dataset with the type and the size of the dataset in the argument `like`.
func allocate(like, dataset string) error {
	out, err := exec.Command("zfs", "get", "-Hp", "-o", "value", "type,volsize", like).Output()
	if err != nil {
		return err
	}
	if f := strings.Fields(string(out)); f[0] == "volume" {
		return zfs("create", "-s", "-V", f[1], dataset)
	}
	return zfs("create", dataset)
}

// moveDisk copies a disk to another storage and writes the copy's name into the guest's
// configuration; the old disk becomes unused. For a virtual machine, moveDisk holds the guest's
// lock until moveDisk returns, and sets no lock word. A container must be off; moveDisk sets the
// lock word `disk` in the container's configuration.
func (l local) moveDisk(key, storage string) error {
	if l.kind == "qemu" {
		return l.withLock(func() error {
			if _, err := l.checkLock(); err != nil {
				return err
			}
			made, err := l.copyDisk(key, storage)
			return errors.Join(err, l.use(made))
		})
	}
	if l.pid() != 0 {
		return errors.New("cannot move volumes of a running container")
	}
	if err := l.setLock("disk"); err != nil {
		return err
	}
	made, err := l.copyDisk(key, storage)
	return errors.Join(err, l.withLock(func() error { return l.use(made) }), l.removeLock())
}

// copyDisk creates the copy of a disk, without the data.
func (l local) copyDisk(key, storage string) (volume, error) {
	pools, err := storages()
	if err == nil && pools[storage] == "" {
		err = fmt.Errorf("storage '%s' does not exist", storage)
	}
	if err != nil {
		return volume{}, err
	}
	c, err := openConfig(l.path())
	if err != nil {
		return volume{}, err
	}
	d, err := c.volume(key)
	if err != nil {
		return volume{}, err
	}
	name, err := freeName(pools[storage], l.kind, l.id)
	if err != nil {
		return volume{}, err
	}
	made := volume{key, storage, name, d.options, pools[storage] + "/" + name}
	return made, errors.Join(allocate(d.dataset, made.dataset), takes("copy"))
}

// use writes a disk's name into the guest's configuration and marks the old disk of the same key
// as unused.
func (l local) use(made volume) error {
	return l.change(func(c *configFile) error {
		old, err := c.volume(made.key)
		if err != nil {
			return err
		}
		old.options = ""
		c.set("unused0", old.String())
		c.set(made.key, made.String())
		return nil
	})
}

var sizeOption = regexp.MustCompile(`size=\w+`)

// resize sets a disk's size, given in MiB, such as 64M. The caller must hold the lock of the
// guest's configuration.
func (l local) resize(key, size string) error {
	c, err := l.checkLock()
	if err != nil {
		return err
	}
	d, err := c.volume(key)
	if err != nil {
		return err
	}
	property := map[string]string{"qemu": "volsize=", "lxc": "refquota="}[l.kind]
	if err := zfs("set", property+size, d.dataset); err != nil {
		return err
	}
	d.options = sizeOption.ReplaceAllString(d.options, "size="+size)
	c.set(key, d.String())
	return c.save()
}

// destroy removes a guest that is off: first its disks, then it writes the lock word destroyed,
// then it removes the configuration. The caller must hold the lock of the guest's configuration.
func (l local) destroy() error {
	c, err := l.checkLock()
	if err != nil {
		return err
	}
	if l.pid() != 0 {
		return fmt.Errorf("%s %s is running - destroy failed", l.word(), l.id)
	}
	disks, err := c.volumes(true)
	if err != nil {
		return err
	}
	for _, d := range disks {
		if err := destroyDisk(d.dataset); err != nil {
			return err
		}
	}
	destroyed := &configFile{path: l.path(), current: []string{"lock: destroyed\n"}}
	return errors.Join(destroyed.save(), os.Remove(l.path()))
}
