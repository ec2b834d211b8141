package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outputGrace is the time for which RunHook still reads the output of a hook that has ended.
// outputGrace is short because a background process of the hook may keep the output open.
const outputGrace = 200 * time.Millisecond

// RunHook waits for at most killGrace until the processes that it killed have ended. A process that
// waits in the kernel, for example for a disk that does not answer, ends later or never.
const killGrace = 2 * time.Second

// ErrNotStarted is in the chain of the error of [RunHook] if the program could not be started.
var ErrNotStarted = errors.New("not started")

// RunHook runs a hook, that is, a program of the user, given by its path. RunHook returns the last
// maxStderr bytes of the program's standard output and standard error together. The program's
// standard input is c.Stdin, and env is added to its environment. The program inherits the files in
// c.Inherit and no other open file of this process. When ctx ends, RunHook kills the program's
// process group. If a process of this process group still exists after killGrace, the error is an
// [ErrStillRunning].
func RunHook(ctx context.Context, c Cmd, env []string) (said string, err error) {
	output := &tail{}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C"), env...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.DiesWithUs {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.ExtraFiles = c.Inherit
	if err := cmd.Start(); err != nil {
		return "", &Error{Argv: c.Argv, Err: fmt.Errorf("%w: %w", ErrNotStarted, err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
		if !killGroup(cmd.Process.Pid) {
			err = fmt.Errorf("%w (process group %d): %w", ErrStillRunning, cmd.Process.Pid, err)
		}
		return output.String(), &Error{Argv: c.Argv, Err: err}
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return output.String(), &Error{Argv: c.Argv, Err: err}
	}
	return output.String(), nil
}

// killGroup kills the processes of a group and reports whether all of them have ended.
func killGroup(group int) (ended bool) {
	_ = syscall.Kill(-group, syscall.SIGKILL)
	for over := time.After(killGrace); ; {
		if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
			return true
		}
		select {
		case <-over:
			return false
		case <-time.After(killGrace / 200):
		}
	}
}

// tail is a writer that keeps the last maxStderr bytes of all text that was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxStderr; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
