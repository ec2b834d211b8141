package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
)

// terminal is a pseudo-terminal. shown is the text that programs have printed on it.
type terminal struct {
	master *os.File
	mu     sync.Mutex
	shown  bytes.Buffer
	ended  chan struct{}
}

// openTerminal opens a pseudo-terminal with the given number of columns. openTerminal returns the
// end of the terminal that the program uses. The caller closes this end.
func openTerminal(columns uint16) (*terminal, *os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	control, err := master.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var unlock, number int32
	size := [4]uint16{24, columns, 0, 0}
	var failed syscall.Errno
	err = control.Control(func(fd uintptr) {
		for _, call := range []struct {
			request uintptr
			arg     unsafe.Pointer
		}{{syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)}, {syscall.TIOCGPTN, unsafe.Pointer(&number)}, {syscall.TIOCSWINSZ, unsafe.Pointer(&size)}} {
			if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, call.request, uintptr(call.arg)); errno != 0 {
				failed = errno
			}
		}
	})
	if err == nil && failed != 0 {
		err = failed
	}
	if err != nil {
		return nil, nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	t := &terminal{master: master, ended: make(chan struct{})}
	go t.read()
	return t, slave, err
}

func (t *terminal) read() {
	defer close(t.ended)
	part := make([]byte, 4096)
	for {
		n, err := t.master.Read(part)
		t.mu.Lock()
		t.shown.Write(part[:n])
		t.mu.Unlock()
		if err != nil {
			return // the last program closed its end of the terminal, or the read deadline has passed
		}
	}
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ReplaceAll(t.shown.String(), "\r\n", "\n")
}

// atTerminal STATUS WHEN PROGRAM ARG…: the program runs at a terminal of $COLUMNS columns and must
// exit with STATUS. If WHEN is a file, or ~ and a text, atTerminal types Ctrl-C as soon as the file
// exists or the terminal shows the text, and the program must end in less than five seconds; if
// WHEN is -, atTerminal types nothing. The file terminal.out gets the text that the terminal
// showed.
func atTerminal(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	columns, err := strconv.Atoi(ts.Getenv("COLUMNS"))
	ts.Check(err)
	program, err := exec.LookPath(args[2])
	ts.Check(err)
	t, slave, err := openTerminal(uint16(columns))
	ts.Check(err)
	cmd := exec.Command(program, args[3:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"WORK", "PATH", "NOW", "TZ", "HOME", "TMPDIR", "TERM", "NOROOT", "XDG_CACHE_HOME", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(cmd.Start())
	ts.Check(slave.Close())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	if when := args[1]; when != "-" {
		shown, isShown := strings.CutPrefix(when, "~")
		until(ts, func() bool {
			if isShown {
				return strings.Contains(t.text(), shown)
			}
			_, err := os.Stat(ts.MkAbs(when))
			return err == nil
		})
		_, err := t.master.Write([]byte{3}) // Ctrl-C
		ts.Check(err)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			ts.Fatalf("Ctrl-C did not end it: %s", t.text())
		}
	}
	<-ended
	// After the program has ended, programs that it started may keep the terminal open.
	_ = t.master.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	<-t.ended
	_ = t.master.Close()
	ts.Check(os.WriteFile(ts.MkAbs("terminal.out"), []byte(t.text()), 0o644))
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit status %d instead of %d: %s", got, want, t.text())
	}
}
