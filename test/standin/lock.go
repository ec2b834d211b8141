package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"snapwatch/test/standin/contract"
)

// flock locks a file as Proxmox does, shared or exclusive: flock prints a message if it must
// wait, and returns an error after the given time.
func flock(how int, path string, wait time.Duration) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	said, begun := false, time.Now()
	for end := begun.Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			if said {
				err = note("waits.log", fmt.Sprintf("%s %d", path, time.Since(begun).Milliseconds()))
			}
			return func() { _ = file.Close() }, err
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(err, file.Close())
		case time.Now().After(end):
			return nil, errors.Join(errors.New(contract.Timeout(path)), file.Close())
		case !said:
			fmt.Fprintln(os.Stderr, "trying to acquire lock...")
			said = true
		}
	}
}

func configLock(kind, id string) string {
	if kind == "lxc" {
		return "/run/lock/lxc/pve-config-" + id + ".lock"
	}
	return "/var/lock/qemu-server/lock-" + id + ".conf"
}

func migrateLock(id string) string { return "/var/lock/pve-manager/pve-migrate-" + id }

// withFileLock calls the function `do` while it holds an exclusive lock on the file at path.
func withFileLock(path string, wait time.Duration, do func() error) error {
	return lockedAs(syscall.LOCK_EX, path, wait, do)
}

func lockedAs(how int, path string, wait time.Duration, do func() error) error {
	release, err := flock(how, path, wait)
	if err != nil {
		return err
	}
	defer release()
	return do()
}

// takes delays the step NAME of a command by the duration in the file /run/standin/NAME.takes,
// such as 3s, if the file exists. takes prints a line when the delay begins, and ends the delay
// early if the file is removed.
func takes(name string) error {
	path := filepath.Join(faultDir, name+".takes")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // without the file the step takes no time
	}
	d, err := time.ParseDuration(string(text))
	fmt.Fprintf(os.Stderr, "%s takes %s\n", name, d)
	waitReached(d, func() bool { return !exists(path) })
	return err
}
