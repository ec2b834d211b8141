package site

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"time"
)

// BinDir is the directory for the scripts in Config.Bin and for the scripts of the method Install.
// BinDir is the first directory of root's search path on Debian.
const BinDir = "/usr/local/sbin"

const searchPath = BinDir + ":/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Result is the exit status and the output of a command that has ended.
type Result struct {
	Stdout, Stderr string
	Code           int  // the command's exit status; after a signal, 128 plus the signal's number
	Held           bool // true if a child that outlived the command still held the command's output
}

// Run runs a command in the site as root. Run returns an error if the command could not be started
// or ctx ended it, but not for an exit status other than 0.
func (s *Site) Run(ctx context.Context, argv ...string) (Result, error) {
	p, err := s.Start(ctx, argv...)
	if err != nil {
		return Result{}, err
	}
	r := p.Wait()
	if ctx.Err() != nil {
		return r, commandError(argv, ctx.Err(), r.Stderr)
	}
	return r, nil
}

// Output runs a command in the site as root and returns the command's standard output. An exit
// status other than 0 is an error.
func (s *Site) Output(ctx context.Context, argv ...string) (string, error) {
	r, err := s.Run(ctx, argv...)
	if err == nil && r.Code != 0 {
		err = commandError(argv, fmt.Errorf("exit status %d", r.Code), r.Stderr)
	}
	return r.Stdout, err
}

// RunAs is like Run, but runs the command as another user, with the user's groups and no
// capabilities.
func (s *Site) RunAs(ctx context.Context, name string, argv ...string) (Result, error) {
	as, err := s.asUser(name, argv)
	if err != nil {
		return Result{}, err
	}
	return s.Run(ctx, as...)
}

// StartAs is like Start, but starts the command as another user, with the user's groups and no
// capabilities.
func (s *Site) StartAs(ctx context.Context, name string, argv ...string) (*Process, error) {
	as, err := s.asUser(name, argv)
	if err != nil {
		return nil, err
	}
	return s.Start(ctx, as...)
}

// asUser returns the command line that runs argv as the user with the given name.
func (s *Site) asUser(name string, argv []string) ([]string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	as := []string{"setpriv", "--reuid=" + u.Uid, "--regid=" + u.Gid, "--init-groups", "--inh-caps=-all", "--reset-env", "env"}
	as = append(append(as, environment()...), s.Env...)
	return append(as, argv...), nil
}

// environment returns the environment variables of every process of a site. A site's root directory
// is not the root directory of process 1, so systemctl treats the site as a chroot and does
// nothing, unless SYSTEMD_IGNORE_CHROOT is set.
func environment() []string {
	return []string{"PATH=" + searchPath, "SYSTEMD_IGNORE_CHROOT=1"}
}

// Process is a running command in a site.
type Process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	done           chan struct{}
	result         Result
}

// Start starts a command in the site as root. When ctx ends, the command is killed, with all its
// children that are still in its process group.
func (s *Site) Start(ctx context.Context, argv ...string) (*Process, error) {
	inside := s.enter(argv...)
	cmd := exec.CommandContext(ctx, inside[0], inside[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(append(environment(), "HOME=/root", "LANG=C.UTF-8"), s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	p := &Process{cmd: cmd, stdout: newOutput(), stderr: newOutput(), done: make(chan struct{})}
	var streams streams
	err := errors.Join(streams.add(&cmd.Stdout, p.stdout), streams.add(&cmd.Stderr, p.stderr))
	if err == nil {
		err = cmd.Start()
	}
	streams.started()
	if err != nil {
		streams.finish(0)
		return nil, commandError(argv, err, "")
	}
	go func() {
		_ = cmd.Wait() // the error is in the exit status too
		held := streams.finish(time.Second)
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		p.result = Result{p.stdout.String(), p.stderr.String(), code, held}
		close(p.done)
	}()
	return p, nil
}

// PID returns the number of the process, which is the same in all sites.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait waits until the process has ended.
func (p *Process) Wait() Result {
	<-p.done
	return p.result
}

// Stop asks the process to end, and waits until it has ended.
func (p *Process) Stop() Result { return p.end(syscall.SIGTERM) }

// Kill ends the process immediately, but not its children, as a crash does.
func (p *Process) Kill() Result { return p.end(syscall.SIGKILL) }

func (p *Process) end(signal syscall.Signal) Result {
	// Signal fails only if the process has already ended, so its error is ignored.
	_ = p.cmd.Process.Signal(signal)
	return p.Wait()
}

// WaitFor waits until the process has printed text on standard output or standard error.
func (p *Process) WaitFor(ctx context.Context, text string) error {
	for {
		out, moreOut := p.stdout.read()
		err, moreErr := p.stderr.read()
		if strings.Contains(out, text) || strings.Contains(err, text) {
			return nil
		}
		select {
		case <-moreOut:
		case <-moreErr:
		case <-ctx.Done():
			return commandError(p.cmd.Args, fmt.Errorf("%w before it printed %q", ctx.Err(), text), err)
		case <-p.done:
			if r := p.result; !strings.Contains(r.Stdout, text) && !strings.Contains(r.Stderr, text) {
				return commandError(p.cmd.Args, fmt.Errorf("exit status %d before it printed %q", r.Code, text), r.Stderr)
			}
			return nil
		}
	}
}

// enter returns the command line that runs argv in the namespaces of the site.
func (s *Site) enter(argv ...string) []string {
	inside := []string{"nsenter"}
	for _, n := range namespaces {
		inside = append(inside, "--"+n+"="+s.namespace(n))
	}
	return append(append(inside, "--"), argv...)
}
