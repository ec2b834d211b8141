package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// kvm is the process of a virtual machine, started as Proxmox starts QEMU: with -id, -name,
// -pidfile and any number of -drive file=PATH. After a kill of kvm, the pid file remains, as after
// a crash of QEMU; an orderly end removes the pid file.
func kvm(args []string) error {
	pidfile := option(args, "-pidfile")
	if option(args, "-id") == "" || pidfile == "" {
		return errors.New("want -id and -pidfile")
	}
	for i, a := range args {
		if a != "-drive" || i+1 == len(args) {
			continue
		}
		for _, field := range strings.Split(args[i+1], ",") {
			path, found := strings.CutPrefix(field, "file=")
			if !found {
				continue
			}
			// The virtual machine's process holds the volume open for writing until the process
			// ends, because ZFS refuses to destroy or rename a volume in use.
			disk, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer disk.Close()
		}
	}
	// As soon as the pid file exists, the file must have its content.
	text := fmt.Sprintf("%d\n", os.Getpid())
	if err := os.WriteFile(pidfile+".new", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(pidfile+".new", pidfile); err != nil {
		return err
	}
	if err := reportRunning(); err != nil {
		return err
	}
	return os.Remove(pidfile)
}

// container is the process of a container, started as "lxc-start -F -n ID". Proxmox says that a
// container is running as long as the container's abstract command socket exists.
func container(args []string) error {
	id := option(args, "-n")
	if id == "" {
		return errors.New("want -n")
	}
	socket, err := net.Listen("unix", "@/var/lib/lxc/"+id+"/command")
	if err != nil {
		return err
	}
	defer socket.Close()
	return reportRunning()
}
