package pve

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// TestMain makes this binary play pvesh and systemctl if it is started under one of these names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "pvesh", "systemctl":
		os.Exit(play())
	case "reader":
		if err := Answer(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play plays pvesh or systemctl. The answers are in the directory PLAY: one file for each path of
// Proxmox's API, with dashes in place of slashes. The first line of a file may be "!STATUS", an
// exit status for the first call, or "hang".
func play() int {
	dir := os.Getenv("PLAY")
	name := filepath.Base(os.Args[0])
	if name == "pvesh" {
		name = strings.ReplaceAll(strings.TrimPrefix(os.Args[2], "/nodes/localhost/"), "/", "-")
	}
	calls, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(calls, filepath.Base(os.Args[0]), strings.Join(os.Args[1:], " "))
	if os.Getenv("HANG") != "" {
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			panic(err)
		}
		note := fmt.Sprintf("%d %d", os.Getpid(), child.Process.Pid)
		if err := os.WriteFile(filepath.Join(dir, "hung.new"), []byte(note), 0o600); err != nil {
			panic(err)
		}
		if err := os.Rename(filepath.Join(dir, "hung.new"), filepath.Join(dir, "hung")); err != nil {
			panic(err)
		}
		_ = child.Wait()
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	status, rest, failed := strings.Cut(string(text), "\n")
	if code, isStatus := strings.CutPrefix(status, "!"); isStatus && failed {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(rest), 0o600); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "no such VM")
		n, _ := strconv.Atoi(code)
		return n
	}
	fmt.Print(string(text))
	return 0
}

// stage puts the fake pvesh and systemctl on PATH and returns the directory with their answers.
func stage(t *testing.T, answers map[string]string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"pvesh", "systemctl"} {
		require.NoError(t, os.Symlink(self, filepath.Join(bin, name)))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("PLAY", dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each program would sleep for a second at its end
	for name, text := range answers {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func TestList(t *testing.T) {
	for _, test := range []struct {
		name, qemu, lxc string
		want            map[ID]string
		err             string
	}{
		{"none", "[]", "[]", map[ID]string{}, ""},
		{
			"numbers, strings, fractions, unknown and missing fields",
			`[{"vmid":100,"status":"running","cpus":0.5,"maxcpu":1.5,"pid":"4711","template":"","new":{"a":[1]}},{"vmid":"101"}]`,
			`[{"vmid":"102","status":"stopped","cpus":"2","template":1,"uptime":null}]`,
			map[ID]string{{100, QEMU}: "running", {101, QEMU}: "", {102, LXC}: "stopped"}, "",
		},
		{"not JSON", "blockstats callback: unexpected\n[]", "[]", nil, "pvesh get /nodes/localhost/qemu --output-format json: the answer is not the JSON expected"},
		{"an object", "{}", "[]", nil, "not the JSON expected"},
		{"nothing", "", "[]", nil, "not the JSON expected"},
		{"no vmid", `[{"status":"running"}]`, "[]", nil, "an entry has no vmid"},
		{"vmid null", `[{"vmid":null,"status":"running"}]`, "[]", nil, "not the JSON expected"},
		{"vmid 0", `[{"vmid":0}]`, "[]", nil, "an entry has no vmid"},
		{"vmid a word", `[{"vmid":"web"}]`, "[]", nil, "not the JSON expected"},
		{"fails twice", "!255\n!255\n[]", "[]", nil, "no such VM, exit status 255 (pvesh get /nodes/localhost/qemu --output-format json)"},
		{"one guest moved away during the first call", "!255\n" + `[{"vmid":100,"status":"running"}]`, "[]", map[ID]string{{100, QEMU}: "running"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			stage(t, map[string]string{"qemu": test.qemu, "lxc": test.lxc})
			list, err := List(t.Context())
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			got := map[ID]string{}
			for id, l := range list {
				got[id] = l.Status
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// List must not pass a node's name to pvesh, because pvesh would then log in to that node. List
// must run each pvesh command at most once.
func TestListCommandLines(t *testing.T) {
	dir := stage(t, map[string]string{"qemu": "[]", "lxc": "[]"})
	_, err := List(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(dir + "/calls")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		"pvesh get /nodes/localhost/qemu --output-format json", "pvesh get /nodes/localhost/lxc --output-format json",
	}, strings.Split(strings.TrimSpace(string(text)), "\n"))

	t.Setenv("PATH", t.TempDir())
	_, err = List(t.Context())
	assert.ErrorIs(t, err, command.ErrNotFound)
}

// A pvesh that hangs is killed together with its children, and is not run again.
func TestListHangs(t *testing.T) {
	dir := stage(t, nil)
	t.Setenv("HANG", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := listKind(ctx, QEMU)
		done <- err
	}()
	var pids []string
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(dir + "/hung")
		pids = strings.Fields(string(text))
		return err == nil
	}, 10*time.Second, time.Millisecond)
	cancel()
	assert.ErrorIs(t, <-done, context.Canceled)
	require.Len(t, pids, 2)
	for _, pid := range pids {
		n, err := strconv.Atoi(pid)
		require.NoError(t, err)
		assert.Eventually(t, func() bool { return gone(n) }, 10*time.Second, time.Millisecond, "process %d lives", n)
	}
}

// gone reports whether a process has ended; a zombie counts as ended.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestRunState(t *testing.T) {
	stage(t, map[string]string{
		"qemu-100-status-current": `{"status":"running","qmpstatus":"prelaunch","cpus":1.5}`,
		"qemu-101-status-current": `{"status":"running"}`,
		"qemu-102-status-current": `running`,
	})
	state, err := RunState(t.Context(), 100)
	require.NoError(t, err)
	assert.Equal(t, "prelaunch", state)
	_, err = RunState(t.Context(), 101)
	assert.ErrorContains(t, err, "no qmpstatus in the answer")
	_, err = RunState(t.Context(), 102)
	assert.ErrorContains(t, err, "not the JSON expected")
	_, err = RunState(t.Context(), 103)
	assert.ErrorContains(t, err, "exit status 2")
}

func TestBootState(t *testing.T) {
	for _, test := range []struct{ answer, want, err string }{
		{"LoadState=loaded\nActiveState=active\n", "active", ""},
		{"ActiveState=activating\nLoadState=loaded\n", "activating", ""},
		{"LoadState=not-found\nActiveState=inactive\n", "absent", ""},
		{"LoadState=masked\nActiveState=inactive\n", "inactive", ""},
		{"LoadState=loaded\nActiveState=failed\n", "failed", ""},
		{"LoadState=loaded\n", "", "no ActiveState"},
		{"!1\n", "", "exit status 1"},
	} {
		stage(t, map[string]string{"systemctl": test.answer})
		h := testHost(t)
		require.NoError(t, os.MkdirAll(h.Systemd, 0o755))
		got, err := h.BootState(t.Context())
		assert.Equal(t, test.want, got, test.answer)
		if test.err == "" {
			assert.NoError(t, err, test.answer)
		} else {
			assert.ErrorContains(t, err, test.err, test.answer)
		}
	}
	got, err := testHost(t).BootState(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "absent", got, "a machine without systemd")
}

// If reading the files of a process never ends, it is unknown whether the process is alive.
func TestProcessHangs(t *testing.T) {
	h := Host{Run: t.TempDir(), Proc: t.TempDir()}
	require.NoError(t, os.MkdirAll(h.Run+"/qemu-server", 0o755))
	require.NoError(t, os.WriteFile(h.Run+"/qemu-server/100.pid", []byte("17\n"), 0o644))
	require.NoError(t, os.MkdirAll(h.Proc+"/17", 0o755))
	fifo := h.Proc + "/17/cmdline"
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	_, err := h.Process(ID{VMID: 100, Kind: QEMU})
	require.ErrorContains(t, err, "17/cmdline: not answered within 1s")
	_, err = h.ProcessID(ID{VMID: 100, Kind: QEMU})
	require.ErrorContains(t, err, "not answered")
	file, err := os.OpenFile(fifo, os.O_RDWR, 0) // this ends the reads
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// ProcessID must distinguish two successive processes with the same number by their start times,
// and two successive cgroups of a container by their inode numbers.
func TestProcessID(t *testing.T) {
	h := Host{Run: t.TempDir(), Proc: t.TempDir(), Cgroup: t.TempDir()}
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	id := func(kind Kind, vmid int) string {
		t.Helper()
		text, err := h.ProcessID(ID{VMID: vmid, Kind: kind})
		require.NoError(t, err)
		return text
	}
	assert.Empty(t, id(QEMU, 100))
	write(h.Run+"/qemu-server/100.pid", "17\n")
	assert.Empty(t, id(QEMU, 100), "a crash left the file behind")
	write(h.Proc+"/17/cmdline", "/usr/bin/kvm\x00-pidfile\x00/var/run/qemu-server/100.pid\x00")
	stat := "17 (kvm) x) 9 (y) S 1 17 17 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 7 0 %s 8 9\n"
	write(h.Proc+"/17/stat", fmt.Sprintf(stat, "4000"))
	first := id(QEMU, 100)
	assert.Equal(t, "process 17 of 4000", first)
	write(h.Proc+"/17/stat", fmt.Sprintf(stat, "9000"))
	assert.NotEqual(t, first, id(QEMU, 100))
	write(h.Proc+"/17/stat", "17 (kvm) S 1")
	_, err := h.ProcessID(ID{VMID: 100, Kind: QEMU})
	assert.Error(t, err)

	assert.Empty(t, id(LXC, 200))
	require.NoError(t, os.MkdirAll(h.ContainerCgroup(200), 0o755))
	first = id(LXC, 200)
	assert.NotEmpty(t, first)
	require.NoError(t, os.Mkdir(filepath.Join(h.Cgroup, "other"), 0o755))
	require.NoError(t, os.Remove(h.ContainerCgroup(200)))
	require.NoError(t, os.Rename(filepath.Join(h.Cgroup, "other"), h.ContainerCgroup(200)))
	assert.NotEqual(t, first, id(LXC, 200))
}
