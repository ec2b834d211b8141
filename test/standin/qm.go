package main

import (
	"errors"
	"fmt"
	"os"

	"snapwatch/test/standin/contract"
)

// qm is the stand-in for the program qm, which changes virtual machines; pct changes containers.
// The commands of qm and pct are: start|stop|shutdown|reboot|template|destroy ID,
// snapshot|delsnapshot|rollback ID SNAPSHOT, migrate ID NODE [--restart], clone ID NEW, move-disk
// or move-volume ID DISK STORAGE, resize ID DISK SIZE; and qm cleanup ID.
func qm(args []string) error { return change("qemu", "qm", args) }

func pct(args []string) error { return change("lxc", "pct", args) }

// needed is the number of arguments that a command of qm or pct needs after the guest's ID.
var needed = map[string]int{
	"snapshot": 1, "delsnapshot": 1, "rollback": 1, "migrate": 1, "clone": 1,
	"move-disk": 2, "move-volume": 2, "resize": 2,
}

func change(kind, program string, args []string) error {
	if len(args) < 2 || len(args) < 2+needed[args[0]] {
		return errors.New("not enough arguments")
	}
	l, err := findLocal(kind, args[1])
	if err != nil {
		return err
	}
	prefix := map[string]string{"qemu": "qm", "lxc": "vz"}[kind]
	return task(prefix+args[0], l.id, func() error { return l.carryOut(program, args[0], args[2:]) })
}

// carryOut carries out a command of qm or pct on the guest.
func (l local) carryOut(program, word string, rest []string) error {
	switch word {
	case "start":
		return l.withLock(l.start)
	case "stop", "shutdown", "reboot":
		if l.kind == "lxc" {
			return l.withLock(func() error { return l.end(word) })
		}
		return l.stopAndCleanUp(word == "reboot")
	case "cleanup":
		return l.cleanUp()
	case "snapshot":
		return l.snapshot(rest[0])
	case "delsnapshot":
		return l.whileMoving(func() error { return l.deleteSnapshot(rest[0]) })
	case "rollback":
		return l.whileMoving(func() error { return l.rollback(rest[0]) })
	case "migrate":
		restart := rest[len(rest)-1] == "--restart"
		return l.whileMoving(func() error { return l.withLock(func() error { return l.migrate(rest[0], restart) }) })
	case "template":
		return l.withLock(l.template)
	case "clone":
		return l.clone(rest[0])
	case "move-disk", "move-volume":
		return l.moveDisk(rest[0], rest[1])
	case "resize":
		return l.withLock(func() error { return l.resize(rest[0], rest[1]) })
	case "destroy":
		return l.withLock(l.destroy)
	default:
		return fmt.Errorf("unknown command '%s %s'", program, word)
	}
}

// end stops a container; for a reboot, end then starts the container again. The method end holds
// the lock of the container's configuration until the method returns.
func (l local) end(word string) error {
	if word == "reboot" {
		if l.pid() == 0 {
			return nil
		}
		if err := l.stop(); err != nil {
			return err
		}
		c, err := openConfig(l.path())
		return errors.Join(err, l.run(c))
	}
	c, err := openConfig(l.path())
	if err != nil {
		return err
	}
	if word := c.get("lock"); word != "" && word != "mounted" {
		return fmt.Errorf("CT is locked (%s)", word)
	}
	return l.stop()
}

// wish returns the path of the file that requests a start of the virtual machine after its end. If
// this file exists when the virtual machine ends, the stand-in starts the virtual machine again.
func (l local) wish() string { return "/run/qemu-server/" + l.id + ".reboot" }

// stopAndCleanUp stops a virtual machine and then does the work of Proxmox's daemon qmeventd.
func (l local) stopAndCleanUp(again bool) error {
	err := l.withLock(func() error {
		if _, err := l.checkLock(); err != nil && !again {
			return err
		}
		if again && l.pid() != 0 {
			if err := os.WriteFile(l.wish(), nil, 0o644); err != nil {
				return err
			}
		}
		return l.stop()
	})
	if err != nil {
		return err
	}
	return l.cleanUp()
}

func (l local) cleanUp() error {
	restart := false
	err := withFileLock(configLock(l.kind, l.id), contract.CleanupWait, func() error {
		if l.pid() != 0 {
			return errors.New("vm still running")
		}
		restart = exists(l.wish())
		if err := takes("cleanup"); err != nil {
			return err
		}
		if restart {
			return os.Remove(l.wish())
		}
		return nil
	})
	if err == nil && restart {
		err = l.withLock(l.start)
	}
	return err
}
