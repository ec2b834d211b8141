package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain makes this test binary play the program "actor". The arguments of the test binary say
// what the actor does.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "actor" {
		os.Exit(act(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func act(words []string) int {
	switch words[0] {
	case "say":
		fmt.Print(words[1])
		return 0
	case "fail":
		fmt.Println("half of it")
		fmt.Fprintln(os.Stderr, words[1])
		return 3
	case "long": // print a line of the given number of bytes
		n, _ := strconv.Atoi(words[1])
		w := bufio.NewWriter(os.Stdout)
		for range n {
			_ = w.WriteByte('x')
		}
		_ = w.WriteByte('\n')
		_ = w.Flush()
	case "noise":
		fmt.Fprint(os.Stderr, strings.Repeat("x", 3*maxStderr))
		return 1
	case "echo":
		text, _ := io.ReadAll(os.Stdin)
		inherited, _ := io.ReadAll(os.NewFile(3, "inherited"))
		fmt.Printf("%s %s %s", text, os.Getenv("LC_ALL"), inherited)
	case "group":
		fmt.Println(os.Getpid(), syscall.Getpgrp())
	case "hang", "escape": // the actor hangs with a child; for escape, the child leaves the process group
		child := exec.Command(os.Args[0], "wait", words[1])
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: words[0] == "escape"}
		if err := child.Start(); err != nil {
			panic(err)
		}
		fmt.Println(os.Getpid(), child.Process.Pid)
		_ = child.Wait()
	case "lock": // the actor locks a file, fills much memory, writes to the FIFO, and hangs
		file, err := os.Create(words[2])
		if err != nil || syscall.Flock(int(file.Fd()), syscall.LOCK_EX) != nil {
			return 1
		}
		memory := make([]byte, 400<<20)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		_ = os.WriteFile(words[1], []byte("locked"), 0)
		time.Sleep(time.Hour)
		runtime.KeepAlive(file)
	case "stay": // the actor hangs, and another actor that survives does not reap a child in its group
		other := exec.Command(os.Args[0], "unreaped", words[1], strconv.Itoa(os.Getpid()))
		other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		_ = other.Run()
	case "unreaped": // the actor has a child in the given group, writes its PID to the FIFO, and hangs
		group, _ := strconv.Atoi(words[2])
		child := exec.Command("/bin/sleep", "600")
		child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
		if child.Start() != nil {
			return 1
		}
		_ = os.WriteFile(words[1], []byte(strconv.Itoa(os.Getpid())), 0)
		time.Sleep(time.Hour)
	case "wait": // the actor waits until the test opens the FIFO for writing
		file, err := os.Open(words[1])
		if err == nil {
			_ = file.Close()
		}
		fmt.Println("done")
	}
	return 0
}

// stage puts the program actor on PATH and returns a FIFO on which an actor can wait.
func stage(t *testing.T) (fifo string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, bin+"/actor"))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	fifo = filepath.Join(t.TempDir(), "fifo")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // else each program would sleep for a second at its end
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	return fifo
}

func actor(words ...string) Cmd { return Cmd{Argv: append([]string{"actor"}, words...)} }

// open opens the FIFO, so that the actors which wait for the FIFO continue and end.
func open(t *testing.T, fifo string) {
	t.Helper()
	file, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func assertGone(t *testing.T, pid int) {
	t.Helper()
	assert.Eventually(t, func() bool { return !alive(pid) }, 10*time.Second, time.Millisecond, "process %d lives", pid)
}

func TestErrorText(t *testing.T) {
	stage(t)
	_, err := Output(t.Context(), actor("fail", "cannot open 'x': no such dataset"))
	assert.EqualError(t, err, "cannot open 'x': no such dataset, exit status 3 (actor fail cannot open 'x': no such dataset)")
	assert.Equal(t, 3, ExitCode(err))
	_, err = RunUnkillable(t.Context(), actor("fail", "busy"))
	assert.EqualError(t, err, "busy, exit status 3 (actor fail busy)")
	assert.EqualError(t, &Error{Argv: []string{"zfs", "list"}, Stderr: "one\n\n two\n", Err: context.Canceled}, "context canceled: one; two (zfs list)")
	failed, ok := errors.AsType[*Error](err)
	require.True(t, ok)
	assert.Equal(t, "busy\n", failed.Stderr)
	assert.Equal(t, -1, ExitCode(errors.New("other")))

	_, err = Output(t.Context(), actor("noise"))
	failed, _ = errors.AsType[*Error](err)
	assert.Len(t, failed.Stderr, maxStderr)

	err = Lines(t.Context(), Cmd{Argv: append([]string{"nowhere-to-be-found"}, make([]string, 100)...)}, nil)
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorContains(t, err, "… (85 more)")
	_, err = RunUnkillable(t.Context(), Cmd{Argv: []string{"nowhere-to-be-found"}})
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestLines(t *testing.T) {
	stage(t)
	read := func(c Cmd) (lines []string, err error) {
		err = Lines(t.Context(), c, func(line string) error {
			lines = append(lines, line)
			return nil
		})
		return lines, err
	}
	for text, want := range map[string][]string{
		"": nil, "a\n": {"a"}, "\n": {""}, "a\n\nb\n": {"a", "", "b"}, "a\tb \n": {"a\tb "},
	} {
		got, err := read(actor("say", text))
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, got, "%q", text)
	}
	for text, want := range map[string][]string{"a": {"a"}, "a\nb": {"a", "b"}} {
		got, err := read(actor("say", text))
		require.ErrorIs(t, err, ErrCut, "%q", text)
		assert.Equal(t, want, got, "%q", text)
		all, err := Output(t.Context(), actor("say", text))
		require.NoError(t, err, "whoever wants all of it judges for himself")
		assert.Equal(t, text+"\n", all)
	}
	for _, n := range []int{64<<10 - 1, 64 << 10, 64<<10 + 1, MaxLine - 1} {
		got, err := read(actor("long", strconv.Itoa(n)))
		require.NoError(t, err, n)
		require.Len(t, got, 1)
		assert.Len(t, got[0], n)
	}
	whole := strings.Repeat("x", 64<<10) // as long as the reader's buffer, and no newline
	got, err := read(actor("say", whole))
	require.ErrorIs(t, err, ErrCut)
	assert.Equal(t, []string{whole}, got)
	_, err = read(actor("long", strconv.Itoa(2*MaxLine)))
	assert.ErrorContains(t, err, "a line of the output is longer than 1048576 bytes (actor long 2097152)")
}

func TestWhatProgramsGet(t *testing.T) {
	stage(t)
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("inherited"), 0o600))
	inherited, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = inherited.Close() }()
	text, err := Output(t.Context(), Cmd{Argv: []string{"actor", "echo"}, Stdin: "stdin", Inherit: []*os.File{inherited}})
	require.NoError(t, err)
	assert.Equal(t, "stdin C inherited\n", text)

	text, err = RunUnkillable(t.Context(), actor("group"))
	require.NoError(t, err)
	pids := strings.Fields(text)
	assert.Equal(t, pids[0], pids[1], "a group of its own: Ctrl-C does not reach it")
}

// If the function that gets each line returns an error, Lines kills the program and returns this
// error.
func TestLinesRefused(t *testing.T) {
	fifo := stage(t)
	refused := errors.New("unexpected line")
	var pids []int
	err := Lines(t.Context(), actor("hang", fifo), func(line string) error {
		pids = numbers(line)
		return refused
	})
	assert.ErrorIs(t, err, refused)
	require.Len(t, pids, 2)
	for _, pid := range pids {
		assertGone(t, pid)
	}
}

func numbers(line string) (list []int) {
	for _, word := range strings.Fields(line) {
		if n, err := strconv.Atoi(word); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// When ctx ends, Lines immediately kills the program's whole process group.
func TestLinesKillsTheGroup(t *testing.T) {
	fifo := stage(t)
	ctx, cancel := context.WithCancel(t.Context())
	var pids []int
	err := Lines(ctx, actor("hang", fifo), func(line string) error {
		pids = numbers(line)
		cancel()
		return nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "actor hang")
	require.Len(t, pids, 2)
	for _, pid := range pids {
		assertGone(t, pid)
	}
}

// Lines does not wait for a program that no signal reaches. In this test, no signal reaches the
// program because the program has left its process group.
func TestLinesLeavesTheHungBehind(t *testing.T) {
	fifo := stage(t)
	ctx, cancel := context.WithCancel(t.Context())
	var pids []int
	err := Lines(ctx, actor("escape", fifo), func(line string) error {
		pids = numbers(line)
		cancel()
		return nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	require.Len(t, pids, 2)
	assert.True(t, alive(pids[1]))
	open(t, fifo)
	assertGone(t, pids[1])
}

// RunUnkillable never kills its program, because the program changes a pool. After the timeout,
// RunUnkillable stops waiting, and the program continues.
func TestUnkillableLeavesItRunning(t *testing.T) {
	fifo := stage(t)
	note := filepath.Join(t.TempDir(), "held")
	held, err := os.Create(note)
	require.NoError(t, err)
	defer func() { _ = held.Close() }()
	timeout, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = RunUnkillable(timeout, Cmd{Argv: []string{"actor", "wait", fifo}, Inherit: []*os.File{held}})
	assert.ErrorIs(t, err, ErrStillRunning)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	found := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(err.Error()))
	pid := 0
	for i, word := range found {
		if word == "process" {
			pid, _ = strconv.Atoi(found[i+1])
		}
	}
	require.NotZero(t, pid, err.Error())
	assert.True(t, alive(pid))
	open(t, fifo)
	assertGone(t, pid)
}

func TestUnkillable(t *testing.T) {
	stage(t)
	text, err := RunUnkillable(t.Context(), actor("say", "a\nb"))
	require.NoError(t, err)
	assert.Equal(t, "a\nb", text)
	text, err = RunUnkillable(t.Context(), actor("fail", "no"))
	assert.Error(t, err)
	assert.Equal(t, "half of it\n", text)
}

// Find finds zfs even with cron's PATH. The directories with zfs are not in cron's PATH.
func TestFind(t *testing.T) {
	stage(t)
	t.Setenv("PATH", "")
	path, err := Find("sh")
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(path))
	_, err = Find("actor")
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorContains(t, err, "in PATH or /usr/sbin, /sbin")
}

// A program with DiesWithUs is killed when this process ends, even if this process is killed.
func TestDiesWithUs(t *testing.T) {
	if dir := os.Getenv("DIES_WITH"); dir != "" {
		_, _ = Output(t.Context(), Cmd{Argv: []string{"sh", "-c", "echo $$ >" + dir + "/new; mv " + dir + "/new " + dir + "/pid; exec sleep 600"}, DiesWithUs: true})
		return
	}
	dir := t.TempDir()
	us := exec.Command(os.Args[0], "-test.run", "^TestDiesWithUs$")
	us.Env = append(os.Environ(), "DIES_WITH="+dir)
	require.NoError(t, us.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(dir + "/pid"); return err == nil }, time.Minute, time.Millisecond)
	pid := pidIn(t, dir+"/pid")
	require.NoError(t, us.Process.Kill())
	_ = us.Wait()
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err != nil || len(text) == 0
	}, time.Minute, time.Millisecond)
}
