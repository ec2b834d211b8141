package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var qemuProgram = regexp.MustCompile(`(kvm|qemu-[^/]*)$`)

// pid returns the number of the guest's process, 0 if the guest does not run.
func (g guest) pid() int {
	if g.kind == "lxc" {
		return containerPID(g.vmid)
	}
	pidfile := fmt.Sprintf("/var/run/qemu-server/%d.pid", g.vmid)
	text, err := os.ReadFile(pidfile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	argv := commandLine(pid)
	if len(argv) == 0 || !qemuProgram.MatchString(argv[0]) || option(argv, "-pidfile") != pidfile {
		return 0
	}
	return pid
}

// containerPID returns the number of the process that holds the container's command socket, 1 if
// that process is unknown, or 0 if the socket does not exist. The container runs if its command
// socket exists in the network namespace of the calling process. containerPID searches for the
// process by its command line.
func containerPID(vmid int) int {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil || !strings.Contains(string(text), fmt.Sprintf(" @/var/lib/lxc/%d/command\n", vmid)) {
		return 0
	}
	own, _ := os.Readlink("/proc/self/ns/net")
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range paths {
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if net, _ := os.Readlink(path); err != nil || net != own {
			continue
		}
		argv := commandLine(pid)
		if len(argv) > 0 && filepath.Base(argv[0]) == "lxc-start" && option(argv, "-n") == strconv.Itoa(vmid) {
			return pid
		}
	}
	return 1 // an unknown process holds the socket: the container runs
}

// commandLine returns the arguments of a process; no arguments for a zombie.
func commandLine(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
}

func uptime(pid int) int {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return 0
	}
	return int(time.Since(info.ModTime()).Seconds())
}
