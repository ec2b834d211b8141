package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"snapwatch/test/standin/contract"
)

// vm is a virtual machine that qm does something with. Every step is in Proxmox's order,
// see package contract; how long the slow ones take stands in /run/standin: stop.takes for
// the end of QEMU, copy.takes for the data of a migration or a moved disk.
type vm struct {
	guest
	id string
}

// qm changes virtual machines: qm start|stop|shutdown|reboot|cleanup ID, qm rollback ID
// SNAPSHOT, qm migrate ID NODE, qm move-disk ID DISK STORAGE.
func qm(args []string) error {
	if len(args) < 2 {
		return errors.New("want a command and a guest")
	}
	v, err := findVM(args[1])
	if err != nil {
		return err
	}
	held := func(do func() error) error { return locked(configLock(v.id), contract.ConfigWait, do) }
	switch word := args[0]; word {
	case "start":
		return held(v.start)
	case "stop", "shutdown", "reboot":
		return v.stopAndCleanUp(held, word == "reboot")
	case "cleanup":
		return v.cleanUp()
	case "rollback":
		return locked(migrateLock(v.id), contract.MigrateWait, func() error { return v.rollback(args[2], held) })
	case "migrate":
		return locked(migrateLock(v.id), contract.MigrateWait, func() error { return held(func() error { return v.migrate(args[2]) }) })
	case "move-disk":
		return held(func() error { return takes("copy") })
	default:
		return fmt.Errorf("unknown command 'qm %s'", word)
	}
}

func findVM(id string) (vm, error) {
	n, err := readNode("/etc/pve")
	if err != nil {
		return vm{}, err
	}
	i := slices.IndexFunc(n.guests, func(g guest) bool { return g.kind == "qemu" && fmt.Sprint(g.vmid) == id && g.node == n.name })
	if i < 0 {
		return vm{}, fmt.Errorf("configuration file 'nodes/%s/qemu-server/%s.conf' does not exist", n.name, id)
	}
	return vm{n.guests[i], id}, nil
}

func (v vm) path() string { return "/etc/pve/local/qemu-server/" + v.id + ".conf" }

// checkLock reads the configuration again: another may have changed it before the lock was had.
func (v vm) checkLock() error {
	config, err := readConfig(v.path())
	if err == nil && config["lock"] != "" {
		err = fmt.Errorf("VM is locked (%s)", config["lock"])
	}
	return err
}

// setLock writes the lock word, none for "".
func (v vm) setLock(word string) error {
	text, err := os.ReadFile(v.path())
	if err != nil {
		return err
	}
	var b strings.Builder
	current := true
	for line := range strings.Lines(string(text)) {
		if current = current && !strings.HasPrefix(line, "["); !current || !strings.HasPrefix(line, "lock:") {
			b.WriteString(line)
		}
	}
	rest := b.String()
	if word != "" {
		rest = "lock: " + word + "\n" + rest
	}
	return errors.Join(os.WriteFile(v.path()+".new", []byte(rest), 0o644), os.Rename(v.path()+".new", v.path()))
}

// datasets are the disks in the storage local-zfs.
func (v vm) datasets() ([]string, error) {
	text, err := os.ReadFile("/etc/pve/storage.cfg")
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(text), "zfspool: local-zfs\n")
	parent := strings.Fields(after)
	if len(parent) < 2 || parent[0] != "pool" {
		return nil, errors.New("no storage local-zfs")
	}
	var all []string
	for key, value := range v.config {
		volume, _, _ := strings.Cut(value, ",")
		name, is := strings.CutPrefix(volume, "local-zfs:")
		if is && strings.HasPrefix(key, "scsi") {
			all = append(all, parent[1]+"/"+filepath.Base(name))
		}
	}
	slices.Sort(all)
	return all, nil
}

func (v vm) start() error {
	if err := v.checkLock(); err != nil {
		return err
	}
	if v.pid() != 0 {
		return fmt.Errorf("VM %s already running", v.id)
	}
	disks, err := v.datasets()
	if err != nil {
		return err
	}
	args := []string{"-id", v.id, "-name", v.name() + ",debug-threads=on", "-pidfile", "/var/run/qemu-server/" + v.id + ".pid"}
	for _, d := range disks {
		args = append(args, "-drive", "file=/dev/zvol/"+d+",format=raw")
	}
	cmd := exec.Command("/usr/bin/kvm", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	for range 500 {
		if v.pid() != 0 {
			return cmd.Process.Release()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("start failed: QEMU exited with code 1")
}

// stop ends QEMU and waits for its end.
func (v vm) stop() error {
	pid := v.pid()
	if pid == 0 {
		return nil
	}
	if err := takes("stop"); err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for v.pid() != 0 {
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func (v vm) wish() string { return "/run/qemu-server/" + v.id + ".reboot" }

// stopAndCleanUp stops the guest, and does what qmeventd does then.
func (v vm) stopAndCleanUp(held func(func() error) error, again bool) error {
	err := held(func() error {
		if err := v.checkLock(); err != nil && !again {
			return err
		}
		if again && v.pid() != 0 {
			if err := os.WriteFile(v.wish(), nil, 0o644); err != nil {
				return err
			}
		}
		return v.stop()
	})
	if err != nil {
		return err
	}
	return v.cleanUp()
}

func (v vm) cleanUp() error {
	restart := false
	err := locked(configLock(v.id), contract.CleanupWait, func() error {
		if v.pid() != 0 {
			return errors.New("vm still running")
		}
		restart = exists(v.wish())
		if err := takes("cleanup"); err != nil {
			return err
		}
		if restart {
			return os.Remove(v.wish())
		}
		return nil
	})
	if err == nil && restart {
		err = locked(configLock(v.id), contract.ConfigWait, v.start)
	}
	return err
}

// rollback looks, stops, and locks, in that order.
func (v vm) rollback(snapshot string, held func(func() error) error) error {
	disks, err := v.datasets()
	if err != nil {
		return err
	}
	err = held(func() error {
		for _, d := range disks {
			newest, err := newestSnapshot(d)
			if err != nil {
				return err
			}
			if newest != snapshot {
				return fmt.Errorf("can't rollback, '%s' is not most recent snapshot on 'local-zfs:%s'", snapshot, filepath.Base(d))
			}
		}
		if err := v.checkLock(); err != nil {
			return err
		}
		return errors.Join(v.stop(), v.setLock("rollback"))
	})
	if err != nil {
		return err
	}
	for _, d := range disks {
		if out, err := exec.Command("zfs", "rollback", d+"@"+snapshot).CombinedOutput(); err != nil {
			return fmt.Errorf("zfs error: %s", strings.TrimSpace(string(out)))
		}
	}
	return held(func() error { return v.setLock("") })
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

// migrate holds what a migration holds; its disks and its process stay, as they would be
// another node's.
func (v vm) migrate(node string) error {
	if err := errors.Join(v.checkLock(), v.setLock("migrate"), takes("copy")); err != nil {
		return errors.Join(err, v.setLock(""))
	}
	if err := v.setLock(""); err != nil {
		return err
	}
	return os.Rename(v.path(), "/etc/pve/nodes/"+node+"/qemu-server/"+v.id+".conf")
}

// pvesr replicates a guest as far as its lock, its freeze and its snapshots go: pvesr ID. It
// thaws whatever came of it, and whoever froze.
func pvesr(args []string) error {
	if len(args) != 1 {
		return errors.New("want a guest")
	}
	v, err := findVM(args[0])
	if err != nil {
		return err
	}
	return locked(migrateLock(v.id), contract.ReplicateWait, func() error {
		disks, err := v.datasets()
		if err != nil {
			return err
		}
		frozen := v.pid() != 0 && strings.HasPrefix(v.config["agent"], "1")
		if frozen {
			if _, err := ask(v.id, "fsfreeze-freeze"); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		var errs []error
		for _, d := range disks {
			name := fmt.Sprintf("%s@__replicate_%s-0_%d__", d, v.id, time.Now().Unix())
			errs = append(errs, exec.Command("zfs", "snapshot", name).Run())
		}
		if frozen {
			if _, err := ask(v.id, "fsfreeze-thaw"); err != nil {
				fmt.Fprintln(os.Stderr, "guest-fsfreeze-thaw problems -", err)
			}
		}
		return errors.Join(append(errs, takes("copy"))...)
	})
}
