package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// kvm is a virtual machine: started as Proxmox starts one, with -id, -name,
// -pidfile and any number of -drive file=PATH. A kill leaves the pid file behind,
// as a crash of QEMU does; an orderly end removes it.
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
			// Open for writing until the process ends: ZFS treats a volume in use
			// differently.
			disk, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer disk.Close()
		}
	}
	// Never there without its content.
	text := fmt.Sprintf("%d\n", os.Getpid())
	if err := os.WriteFile(pidfile+".new", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(pidfile+".new", pidfile); err != nil {
		return err
	}
	if err := live(); err != nil {
		return err
	}
	return os.Remove(pidfile)
}

// container is a container: started as "lxc-start -F -n ID". Proxmox calls one
// running as long as its command socket exists, an abstract one.
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
	return live()
}
