// Command standin replaces the programs of Proxmox VE that Debian does not have, in the lab's
// virtual machine. The name under which standin is started decides which program it replaces:
//
//	pvesh      answers "get" for the lists of guests, computed as Proxmox does
//	           from /etc/pve, pid files, /proc and /proc/net/unix, and "create"
//	           for the calls of a guest's agent
//	kvm        behaves like the process of a virtual machine: writes its pid file
//	           and holds its disks open
//	lxc-start  behaves like the process of a container: holds its command socket
//	pmxcfs     plays a file system of the cluster that hangs
//	qm, pct    change virtual machines and containers: the steps, the locks and
//	           the waits for the locks are Proxmox's (package contract)
//	vzdump     backs up a guest, with Proxmox's steps, locks and waits
//	pvesr      replicates a guest, with Proxmox's steps, locks and waits
//
// All files have Proxmox's own paths. A test requests faults by files in /run/standin, see
// pvesh.go. All other programs in the lab are real.
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
			os.Exit(255) // Proxmox's commands end with this status after an error
		}
		os.Exit(1)
	}
}

// option returns the argument after the option with the given name, "" if args does not contain
// this option.
func option(args []string, name string) string {
	for i, a := range args[:max(len(args)-1, 0)] {
		if a == name {
			return args[i+1]
		}
	}
	return ""
}

// reportRunning reports to the parent process that the guest is running, by printing "ready" and
// closing standard output, and returns when a signal asks the guest to end.
func reportRunning() error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("ready")
	if err := os.Stdout.Close(); err != nil {
		return err
	}
	<-end
	return nil
}
