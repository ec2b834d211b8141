package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/files"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts' expected files")

// TestMain makes the test binary play snapwatch or one of the programs that snapwatch starts. The
// name under which the binary is started decides which program it plays.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // so that other users cannot write to the files of the scripts
	testscript.Main(m, map[string]func(){
		"snapwatch":           func() { os.Exit(execute(os.Args[1:], scriptEnvironment())) },
		oldProgram:            func() { os.Exit(execute(os.Args[1:], scriptEnvironment())) },
		"snapwatch-at-a-site": func() { os.Exit(execute(os.Args[1:], siteEnvironment(os.Getenv("SITE")))) },
		"zfs": func() {
			if os.Getenv("WORK") == "" { // the test describes its pools in Go
				zfstest.Main(nil)
			}
			os.Exit(playZFS(os.Args[1:]))
		},
		"zpool": func() {
			if os.Getenv("WORK") == "" {
				zfstest.Main(nil)
			}
			os.Exit(playZpool(os.Args[1:]))
		},
		"pvesh": func() { os.Exit(playPvesh(os.Args[1:])) },
		"systemd-run": func() {
			logCall("systemd-run", os.Args[1:])
			said, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), "systemd-run"))
			if err == nil {
				fmt.Fprint(os.Stderr, string(said))
				os.Exit(1)
			}
		},
		"guestfish": func() { os.Exit(playGuestfish()) },
		"systemctl": func() { os.Exit(playSystemctl(os.Args[1:])) },
	})
}

// scriptEnvironment returns the environment of a node in $WORK. In a script, the variable TERMINAL
// means that standard input and output are a terminal, NOROOT means that the user is not root, and
// NOW is the present time.
func scriptEnvironment() *environment {
	work := func(path string) string { return filepath.Join(os.Getenv("WORK"), path) }
	now, err := time.Parse(time.RFC3339, os.Getenv("NOW"))
	if err != nil {
		panic(err)
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return &environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Self: self,
		Trusted: func(program string) error { // the test binary is in /tmp, where a real program would not be trusted
			if !strings.HasPrefix(program, work("")) {
				return nil
			}
			return files.OnlyRoots(program)
		},
		Terminal: os.Getenv("TERMINAL") != "" || isTerminal(os.Stdout), Typed: os.Getenv("TERMINAL")+os.Getenv("TYPED") != "" || isTerminal(os.Stdin),
		Size: terminalSize, Getenv: os.Getenv, Root: os.Getenv("NOROOT") == "",
		Now:        func() time.Time { return now },
		ConfigPath: work("etc/config.yaml"), Kstat: work("kstat"),
		LockDir: work("lock"), RunDir: work("run/snapwatch"), StateDir: work("state"),
		CronFile: work("cron.d/snapwatch"), Crontab: work("crontab"), RootCrontab: work("crontabs/root"), TimerLink: work("timers/snapwatch.timer"),
		ZFSDevice: work("dev-zfs"), Sanoid: work("sanoid.conf"),
		Mounts:    work("mounts"),
		Dev:       work("dev"),
		Hostname:  func() string { return "pve1" },
		ClockSync: func() string { return os.Getenv("CLOCKSYNC") },
		PVE: pve.Host{
			Reader: []string{cmp.Or(os.Getenv("SNAPWATCH"), "snapwatch"), readPVEWord},
			Etc:    work("pve"), Run: work("run"), Proc: work("proc"), Lock: work("lock"), LXC: work("lxc"), Cgroup: work("cgroup"), Systemd: work("systemd"),
		},
	}
}

// A line of cron may make root run a program for years. So snap does not register a program in
// /tmp, where files are removed.
func TestTrusted(t *testing.T) {

	assert.NoError(t, trusted("/bin/sh"))
	program := filepath.Join(t.TempDir(), "snapwatch")
	require.NoError(t, os.WriteFile(program, nil, 0o755))
	require.NoError(t, files.OnlyRoots(program))
	assert.ErrorContains(t, trusted(program), os.TempDir()+" is writable for everybody and emptied regularly; or install snapwatch where only root may write")
	require.NoError(t, os.Chmod(filepath.Dir(program), 0o777))
	assert.ErrorContains(t, trusted(program), "another user may replace the program that cron would run as root: others may write "+filepath.Dir(program))
}

// TestScripts runs the scripts in testdata/script, which type the commands of people and of cron.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup:               setUpNode,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"told": toldTo, "fifo": fifo, "atterminal": atTerminal,
			"exits": exits, "alive": alive, "dead": dead, "holdlock": holdLock, "showplaces": showPlaces, "killfrozen": killFrozen,
		},
	})
}

// setUpNode creates the files of node pve1 with pool tank, one storage and one running guest. The
// files that a script contains replace the files that setUpNode created.
func setUpNode(e *testscript.Env) error {
	e.Setenv("NOW", "2026-07-15T12:07:00Z")
	e.Setenv("TZ", "UTC")
	e.Setenv("COLUMNS", "80")
	e.Setenv("GORACE", "atexit_sleep_ms=0") // else each program would sleep for a second at its end
	for _, name := range []string{"snapwatch", "zfs"} {
		program, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		e.Setenv(strings.ToUpper(name), program)
	}
	for path, text := range map[string]string{
		"pve/storage.cfg":                     "zfspool: data\n\tpool tank/data\n\tcontent images,rootdir\n",
		"pve/nodes/pve1/qemu-server/100.conf": "name: web\nscsi0: data:vm-100-disk-0,size=8G\n",
		"pve/nodes/pve2/qemu-server/200.conf": "name: elsewhere\n",
		"pvesh/qemu.json":                     `[{"vmid":100,"status":"running","cpus":1}]`,
		"pvesh/lxc.json":                      `[]`,
		"kstat/tank/state":                    "ONLINE\n",
		"proc/uptime":                         "360000.00 1.0\n",
		"proc/net/unix":                       "Num       RefCount Protocol Flags    Type St Inode Path\n",
		"zfs/world":                           "disk tank/data/vm-100-disk-0 running=pve1\n",
		"etc/config.yaml":                     "confirm_stop: 1ms\n",
		"mounts":                              "",
	} {
		path = filepath.Join(e.WorkDir, path)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(e.WorkDir, "lock"), 0o755); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(e.WorkDir, "lock"), 0o777); err != nil {
		return err
	}
	for _, dir := range []string{"run/qemu-server", "cron.d", "crontabs", "timers"} {
		if err := os.MkdirAll(filepath.Join(e.WorkDir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("nodes/pve1", filepath.Join(e.WorkDir, "pve/local")); err != nil {
		return err
	}
	return makeAlive(e.WorkDir, "100")
}

// makeAlive creates the pid file and the command line of a running QEMU process.
func makeAlive(work, vmid string) error {
	dir := filepath.Join(work, "proc", vmid+"1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	argv := fmt.Sprintf("/usr/bin/kvm\x00-id\x00%s\x00-pidfile\x00/var/run/qemu-server/%s.pid\x00", vmid, vmid)
	if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(argv), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, "run/qemu-server", vmid+".pid"), []byte(vmid+"1\n"), 0o644)
}

// alive VMID: from now on, the simulated guest's process is alive.
func alive(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(makeAlive(ts.Getenv("WORK"), args[0]))
}

// dead VMID: the guest's process has ended, and Proxmox lists all virtual machines as stopped.
func dead(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.RemoveAll(ts.MkAbs("run/qemu-server/" + args[0] + ".pid")))
	list := strings.ReplaceAll(ts.ReadFile(ts.MkAbs("pvesh/qemu.json")), "running", "stopped")
	ts.Check(os.WriteFile(ts.MkAbs("pvesh/qemu.json"), []byte(list), 0o644))
}

// exits STATUS PROGRAM ARG…: the program must exit with exactly this status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d instead of %d", got, want)
	}
}

// told SIGNAL STATUS FILE PROGRAM ARG…: starts the program, and sends the signal to it when the
// file exists or, if the file is a fifo, has a reader. The program must exit with the status STATUS
// in less than five seconds.
func toldTo(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	program, err := exec.LookPath(args[3])
	ts.Check(err)
	cmd := exec.Command(program, args[4:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"WORK", "PATH", "NOW", "TZ", "HOME", "TMPDIR", "TERMINAL", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	output, err := os.Create(ts.MkAbs("told.out"))
	ts.Check(err)
	defer func() { _ = output.Close() }()
	cmd.Stdout, cmd.Stderr = output, output
	ts.Check(cmd.Start())
	until(ts, func() bool {
		info, err := os.Stat(ts.MkAbs(args[2]))
		if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			return err == nil
		}
		end, err := os.OpenFile(ts.MkAbs(args[2]), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			ts.Defer(func() { _ = end.Close() })
		}
		return err == nil
	})
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	begun := time.Now()
	_ = cmd.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		ts.Fatalf("it ended after %s", took)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit status %d instead of %d", got, want)
	}
}

// fifo FILE: creates a fifo named FILE. Every reader of it hangs.
func fifo(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.RemoveAll(path))
	ts.Check(syscall.Mkfifo(path, 0o600))
}

// holdLock FILE MINUTES: from now on another process holds the lock FILE. The note in the lock file
// says that the process took the lock MINUTES minutes ago.
func holdLock(ts *testscript.TestScript, _ bool, args []string) {
	now, err := time.Parse(time.RFC3339, ts.Getenv("NOW"))
	ts.Check(err)
	minutes, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o700))
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = fmt.Fprintf(file, "4711 %d\n", now.Add(-time.Duration(minutes)*time.Minute).Unix())
	ts.Check(err)
	ts.Check(syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	ts.Defer(func() { _ = file.Close() })
}

// showPlaces FILE…: replaces, in each file, the paths of this test by the names of the variables
// that have these paths, so that the file can be compared.
func showPlaces(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
		program := strings.Fields(ts.Getenv("SNAPWATCH"))
		if len(program) == 1 {
			text = strings.ReplaceAll(text, program[0], "$SNAPWATCH")
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}
