package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// killFrozen, a command of the test scripts, waits for an event for at most killedStory.
const killedStory = 2 * time.Minute

// killFrozen N FILE…: starts snap N times and kills each run with SIGKILL at a random moment after
// one of the files, which are the states of guests, says frozen or 1. After each kill, killFrozen
// waits until no watchdog runs, and then requires that each FILE says thawed or 0.
func killFrozen(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	work := ts.Getenv("WORK")
	program, err := exec.LookPath("snapwatch")
	ts.Check(err)
	hits := 0
	for i, end := 0, time.Now().Add(killedStory); i < n; {
		cmd := exec.Command(program, "snap", "f2")
		cmd.Dir = work
		for _, name := range []string{"WORK", "PATH", "NOW", "TZ", "HOME", "TMPDIR"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		ts.Check(cmd.Start())
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		left := func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}
		until(ts, func() bool { return anyFrozen(ts, args[1:]) || left() })
		time.Sleep(rand.N(60 * time.Millisecond))
		if anyFrozen(ts, args[1:]) {
			hits++
		}
		began := !left()
		_ = cmd.Process.Kill()
		<-ended
		until(ts, func() bool { return !anyWatchdog(work) })
		if anyFrozen(ts, args[1:]) {
			ts.Fatalf("kill %d: frozen, and nobody is left to thaw it", i)
		}
		if began { // on a slow machine a run may freeze no guest
			i++
		} else if time.Now().After(end) {
			ts.Fatalf("no run freezes anybody")
		}
	}
	fmt.Fprintf(ts.Stdout(), "%d of %d kills hit while a guest was frozen\n", hits, n)
	if hits == 0 {
		ts.Fatalf("no kill hit while a guest was frozen")
	}
}

func until(ts *testscript.TestScript, reached func() bool) {
	for end := time.Now().Add(killedStory); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("that was waited for in vain")
		}
	}
}

func anyFrozen(ts *testscript.TestScript, files []string) bool {
	for _, name := range files {
		text, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		if state := string(bytes.TrimSpace(text)); state == "frozen" || state == "1" {
			return true
		}
	}
	return false
}

// anyWatchdog reports whether a watchdog of this script, or a program that a watchdog started, is
// running.
func anyWatchdog(work string) bool {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		cmdline, _ := os.ReadFile(path)
		if !bytes.HasPrefix(cmdline, []byte("snapwatch\x00watchdog\x00")) && !bytes.Contains(cmdline, []byte("pvesh\x00create\x00")) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if bytes.Contains(environ, []byte("WORK="+work+"\x00")) {
			return true
		}
	}
	return false
}
