package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// outputGrace is how long the output is read on when the program has ended: what it
// left running in the background may hold it open.
const outputGrace = 200 * time.Millisecond

// RunHook runs a program of the user's, named by its path, and returns what it printed, both outputs
// as one, of which no more is kept than of any command's complaints. Its standard input is
// c.Stdin, env is added to its environment, and no file but these is open in it. When
// ctx ends, its process group is killed.
func RunHook(ctx context.Context, c Cmd, env []string) (said string, err error) {
	output := &head{}
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Env = append(append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C"), env...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", &Error{Argv: c.Argv, Err: err}
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
