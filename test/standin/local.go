package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"snapwatch/test/standin/contract"
)

// local is a guest of this node, which the stand-ins for qm, pct, vzdump and pvesr change. The
// steps have the same order as in Proxmox (see package contract). Two files in /run/standin hold
// the durations of slow steps: stop.takes the duration of the guest's stop, copy.takes the duration
// of each copy of data, for a backup, a replication, a migration, a clone or a moved disk.
type local struct {
	guest
	id string
	// The field `has` is true while this process holds the lock of the guest's configuration, so
	// that nested calls do not take the lock again.
	has bool
}

// findLocal finds a guest of the given kind on this node; an empty kind means any kind.
func findLocal(kind, id string) (local, error) {
	n, err := readNode("/etc/pve")
	if err != nil {
		return local{}, err
	}
	i := slices.IndexFunc(n.guests, func(g guest) bool {
		return (kind == "" || g.kind == kind) && fmt.Sprint(g.vmid) == id && g.node == n.name
	})
	if i < 0 {
		return local{}, fmt.Errorf("configuration file 'nodes/%s/%s/%s.conf' does not exist", n.name, configDirs[kind], id)
	}
	return local{guest: n.guests[i], id: id}, nil
}

// configDirs has, by the kind of guest, the name of the directory of the guests' configuration
// files.
var configDirs = map[string]string{"qemu": "qemu-server", "lxc": "lxc", "": "qemu-server"}

func (l local) path() string { return "/etc/pve/local/" + configDirs[l.kind] + "/" + l.id + ".conf" }

// word returns Proxmox's abbreviation for the guest's kind: VM or CT.
func (l local) word() string { return map[string]string{"qemu": "VM", "lxc": "CT"}[l.kind] }

// withLock calls the function `do` while it holds the lock of the guest's configuration.
func (l local) withLock(do func() error) error {
	if l.has {
		return do()
	}
	return withFileLock(configLock(l.kind, l.id), contract.ConfigWait, do)
}

// whileMoving calls the function `do` while it holds the guest's migration lock.
func (l local) whileMoving(do func() error) error {
	return withFileLock(migrateLock(l.id), contract.MigrateWait, do)
}

// checkLock reads the guest's configuration again, because another process may have changed it
// before this process got the configuration's lock. checkLock returns an error if the
// configuration has a lock word.
func (l local) checkLock() (*configFile, error) {
	c, err := openConfig(l.path())
	if err == nil && c.get("lock") != "" {
		err = fmt.Errorf("%s is locked (%s)", l.word(), c.get("lock"))
	}
	return c, err
}

// change changes the guest's configuration. The caller must hold the lock of the configuration.
func (l local) change(do func(c *configFile) error) error {
	c, err := openConfig(l.path())
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.save())
}

// setLock takes the lock of the guest's configuration, writes a lock word into the configuration,
// and releases the lock. setLock fails if the configuration has a lock word already.
func (l local) setLock(word string) error {
	return l.withLock(func() error {
		c, err := l.checkLock()
		if err != nil {
			return err
		}
		c.set("lock", word)
		return c.save()
	})
}

// removeLock removes the lock word from the guest's configuration while it holds the
// configuration's lock.
func (l local) removeLock() error {
	return l.withLock(func() error {
		return l.change(func(c *configFile) error {
			c.set("lock", "")
			return nil
		})
	})
}

// start starts the guest. The caller must hold the lock of the guest's configuration.
func (l local) start() error {
	c, err := l.checkLock()
	if err == nil && c.get("template") == "1" {
		err = fmt.Errorf("you can't start a %s if it's a template", l.word())
	}
	if err != nil {
		return err
	}
	return l.run(c)
}

// run starts the guest, even if its configuration has a lock word.
func (l local) run(c *configFile) error {
	if l.pid() != 0 {
		return fmt.Errorf("%s %s already running", l.word(), l.id)
	}
	argv := []string{"/usr/bin/lxc-start", "-F", "-n", l.id}
	if l.kind == "qemu" {
		disks, err := c.volumes(false)
		if err != nil {
			return err
		}
		argv = []string{"/usr/bin/kvm", "-id", l.id, "-name", l.name() + ",debug-threads=on", "-pidfile", "/var/run/qemu-server/" + l.id + ".pid"}
		for _, d := range disks {
			device := "/dev/zvol/" + d.dataset
			if !waitReached(30*time.Second, func() bool { return exists(device) }) {
				return fmt.Errorf("timeout: no zvol device link for '%s' found", d.base())
			}
			argv = append(argv, "-drive", "file="+device+",format=raw")
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if !waitReached(10*time.Second, func() bool { return l.pid() != 0 }) {
		return fmt.Errorf("start of %s %s failed", l.word(), l.id)
	}
	return cmd.Process.Release()
}

// waitReached waits until the function `reached` returns true, for at most the given time.
// waitReached returns false if the time is over before.
func waitReached(wait time.Duration, reached func() bool) bool {
	for end := time.Now().Add(wait); !reached(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// stop ends the guest and waits for its end. The caller must hold the lock of the guest's
// configuration.
func (l local) stop() error {
	if l.pid() == 0 {
		return nil
	}
	if err := takes("stop"); err != nil {
		return err
	}
	pid := l.pid()
	if pid == 0 {
		return nil // the guest ended by itself
	}
	if pid == 1 {
		return fmt.Errorf("%s %s runs in no process that is known", l.word(), l.id)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for l.pid() != 0 {
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// whileFrozen freezes a guest that has an agent, calls the function `do`, and thaws the guest.
// whileFrozen thaws the guest even if the freeze failed or another program froze the guest.
func (l local) whileFrozen(do func() error) error {
	if l.pid() == 0 || !strings.HasPrefix(l.config["agent"], "1") {
		return do()
	}
	if _, err := ask(l.id, "fsfreeze-freeze"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	err := do()
	if _, err := ask(l.id, "fsfreeze-thaw"); err != nil {
		fmt.Fprintln(os.Stderr, "guest-fsfreeze-thaw problems -", err)
	}
	return err
}

// zfs runs the program zfs with the given arguments.
func zfs(args ...string) error {
	if out, err := exec.Command("zfs", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("zfs error: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// destroyDisk destroys a disk with its snapshots. If the disk is busy, destroyDisk tries again, for
// five seconds.
func destroyDisk(dataset string) (err error) {
	for range 6 {
		err = zfs("destroy", "-r", dataset)
		if err == nil || !strings.Contains(err.Error(), "dataset is busy") {
			return err
		}
		time.Sleep(time.Second)
	}
	return err
}
