// Command standin stands in for the parts of Proxmox VE that Debian does not
// have, in the lab's virtual machine. It acts by the name it is started under:
//
//	pvesh      answers "get" for the lists of guests, computed as Proxmox does
//	           from /etc/pve, pid files, /proc and /proc/net/unix, and "create"
//	           for what a guest's agent does
//	kvm        lives like the process of a virtual machine: writes its pid file
//	           and holds its disks open
//	lxc-start  lives like the process of a container: holds its command socket
//	pmxcfs     is the file system of the cluster when it hangs
//	qm, pct    change virtual machines and containers, with Proxmox's locks, its
//	           waits for them and its order (package contract)
//	vzdump     backs a guest up, likewise
//	pvesr      replicates one, likewise
//
// The files are where Proxmox has them. What a test wants to go wrong stands in
// /run/standin, see pvesh.go. All else in the lab is the real thing.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	name := filepath.Base(os.Args[0])
	var err error
	switch name {
	case "pvesh":
		os.Exit(pvesh(os.Args[1:], os.Stdout, os.Stderr))
	case "kvm":
		err = kvm(os.Args[1:])
	case "lxc-start":
		err = container(os.Args[1:])
	case "pmxcfs":
		err = pmxcfs(os.Args[1:])
	case "qm":
		err = qm(os.Args[1:])
	case "pct":
		err = pct(os.Args[1:])
	case "vzdump":
		err = vzdump(os.Args[1:])
	case "pvesr":
		err = pvesr(os.Args[1:])
	default:
		err = fmt.Errorf("started as %q, want pvesh, kvm, lxc-start, pmxcfs, qm, pct, vzdump or pvesr", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		switch name {
		case "qm", "pct", "vzdump", "pvesr":
			os.Exit(255) // as Proxmox's commands
		}
		os.Exit(1)
	}
}

// option is the value that follows name in args, or "".
func option(args []string, name string) string {
	for i, a := range args[:max(len(args)-1, 0)] {
		if a == name {
			return args[i+1]
		}
	}
	return ""
}

// live tells the parent that the guest is up, by "ready" and the end of standard
// output, and returns when somebody asks the guest to end.
func live() error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("ready")
	if err := os.Stdout.Close(); err != nil {
		return err
	}
	<-end
	return nil
}
