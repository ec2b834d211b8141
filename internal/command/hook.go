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

// outputGrace is how long the output is read on when the program has ended: what it
// left running in the background may hold it open.
const outputGrace = 200 * time.Millisecond

// ErrNotStarted is in the chain of errors of [RunHook] for a program that never ran.
var ErrNotStarted = errors.New("not started")

// RunHook runs a program of the user's, named by its path, and returns what it printed, both outputs
// as one, of which the end is kept, no more than of any command's complaints. Its standard input is
// c.Stdin, env is added to its environment, and no file but these and c.Inherit is open in it. When
// ctx ends, its process group is killed.
func RunHook(ctx context.Context, c Cmd, env []string) (said string, err error) {
	output := &tail{}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C"), env...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = c.Inherit
	if err := cmd.Start(); err != nil {
		return "", &Error{Argv: c.Argv, Err: fmt.Errorf("%w: %w", ErrNotStarted, err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return output.String(), &Error{Argv: c.Argv, Err: context.Cause(ctx)}
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return output.String(), &Error{Argv: c.Argv, Err: err}
	}
	return output.String(), nil
}

// tail keeps the last maxStderr bytes written to it.
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
