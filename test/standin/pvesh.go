package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// faultDir is the directory for the logs of the stand-ins, and for the files by which a test
// requests faults. pvesh.log contains the arguments of each call of pvesh, one call per line.
// waits.log contains each lock for which a stand-in had to wait, with the wait in milliseconds. A
// file's name says which calls of pvesh get the fault: pvesh.KIND means all calls, and
// pvesh.KIND.WHAT means one sort of calls. WHAT is qemu, lxc, current, resources, or a call of
// agent.go. A file whose name ends in .once is used for only one call. The kinds of faults are:
//
//	fail     the content goes to standard error, exit status 255
//	hang     the call never ends, and neither does a child that holds its standard output
//	garbage  the content instead of JSON, exit status 0
//	empty    an empty list, exit status 0
//	unknown  the status of every guest is unknown
//
// The file pvesh.takes contains the duration of each call of pvesh, such as 20s.
const faultDir = "/run/standin"

// fault returns the content of the file by which a test requests a fault of the given kind from
// pvesh.
func fault(kind, what string) (content string, found bool) {
	base := filepath.Join(faultDir, "pvesh."+kind)
	for _, path := range []string{base + "." + what, base} {
		if text, err := os.ReadFile(path); err == nil {
			return string(text), true
		}
		text, err := os.ReadFile(path + ".once")
		// If several calls run at the same time, the call that removes the fault's file shows the
		// fault.
		if err == nil && os.Remove(path+".once") == nil {
			return string(text), true
		}
	}
	return "", false
}

// pvesh answers one call as Proxmox's pvesh does, and returns the exit status.
func pvesh(args []string, stdout, stderr io.Writer) int {
	if err := note("pvesh.log", strings.Join(args, " ")); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if len(args) >= 2 && args[0] == "create" {
		return agent(args, stdout, stderr)
	}
	path := ""
	if len(args) >= 2 && args[0] == "get" {
		path = strings.Trim(args[1], "/")
	}
	parts := strings.Split(path, "/")
	local := len(parts) > 2 && parts[0] == "nodes" && parts[1] == "localhost"
	what := ""
	switch {
	case local && len(parts) == 3 && (parts[2] == "qemu" || parts[2] == "lxc"):
		what = parts[2]
	case local && len(parts) == 6 && parts[2] == "qemu" && parts[4] == "status" && parts[5] == "current":
		what = "current"
	case path == "cluster/resources":
		what = "resources"
	default:
		fmt.Fprintf(stderr, "No 'get' handler defined for '%s'\n", strings.Join(args, " "))
		return 2
	}
	if option(args, "--output-format") != "json" {
		fmt.Fprintln(stderr, "the stand-in knows only --output-format json")
		return 2
	}

	if err := takes("pvesh"); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if text, found := fault("fail", what); found {
		fmt.Fprint(stderr, text)
		return 255
	}
	if _, found := fault("hang", what); found {
		hang()
	}
	if text, found := fault("garbage", what); found {
		fmt.Fprint(stdout, text)
		return 0
	}
	if _, found := fault("empty", what); found {
		fmt.Fprintln(stdout, "[]")
		return 0
	}

	answer, err := get(what, parts, option(args, "--type"))
	if err == nil {
		err = json.NewEncoder(stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	return 0
}

func get(what string, parts []string, kind string) (any, error) {
	node, err := readNode("/etc/pve")
	if err != nil {
		return nil, err
	}
	_, node.unknown = fault("unknown", what)
	switch what {
	case "current":
		return node.current(parts[3])
	case "resources":
		return node.resources(kind)
	}
	return node.list(what)
}

// note appends a line to a log of the stand-ins, with a single write, because stand-ins run in
// parallel.
func note(name, line string) error {
	if err := os.MkdirAll(faultDir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(faultDir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = log.WriteString(line + "\n")
	return errors.Join(err, log.Close())
}

// hang waits for ever. If a caller kills only the process of pvesh, the child remains, as with a
// pvesh that has forked a worker.
func hang() {
	child := exec.Command("sleep", "infinity")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for { // select {} would make the Go runtime report a deadlock
		time.Sleep(time.Hour)
	}
}
