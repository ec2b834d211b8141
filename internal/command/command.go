// Package command starts the programs snapwatch depends on, zfs, pvesh and systemctl,
// and the hooks that the user asks for. It is the only place that does so. Programs are
// started by argv, never through a shell, with LC_ALL=C and in a process group of their
// own, so that Ctrl-C at a terminal does not reach a channel program that is half way.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// MaxLine is the longest line of output that is read, in bytes. A line of zfs
// holds a name of at most 255 bytes and property values of at most 8 KiB.
const MaxLine = 1 << 20

// maxStderr is how much of a command's standard error is kept, in bytes.
const maxStderr = 64 << 10

// ErrNotFound is in the chain of errors for a program that is not installed.
var ErrNotFound = exec.ErrNotFound

// ErrStillRunning is in the chain of errors of [RunUnkillable] when timeout ended first.
var ErrStillRunning = errors.New("still running, left behind")

// ErrCut is in the chain of errors for output that ends within a line.
var ErrCut = errors.New("its output ends within a line")

// Cmd is one program to start.
type Cmd struct {
	Argv  []string
	Stdin string
	// Inherit are files the program keeps open until it ends. A lock file among
	// them stays locked for as long as a hung program lives, which is the point.
	Inherit []*os.File
	// DiesWithUs kills the program when this process ends, however that comes.
	DiesWithUs bool
}

// Error is a command that failed. It carries all a person needs to try it by hand.
type Error struct {
	Argv   []string
	Stderr string
	Err    error
}

// Error says the cause first and the command line last: where it is clipped the cause stays.
// Of a command that was ended for a reason of its caller's own, that is all to be said.
func (e *Error) Error() string {
	why := e.Err.Error()
	if errors.Is(e.Err, context.Canceled) && why != context.Canceled.Error() && !errors.Is(e.Err, ErrStillRunning) {
		return why
	}
	var said []string
	for line := range strings.Lines(e.Stderr) {
		if line = strings.TrimSpace(line); line != "" {
			said = append(said, line)
		}
	}
	cause, complaints := e.Err.Error(), strings.ReplaceAll(strings.Join(said, "; "), ":; ", ": ")
	switch {
	case complaints == "":
	case ExitCode(e.Err) >= 0: // a number says least
		cause = complaints + ", " + cause
	default:
		cause += ": " + complaints
	}
	return fmt.Sprintf("%s (%s)", cause, printable(e.Argv))
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the exit status behind err, or -1 when no command ended with one.
func ExitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// printable shortens a long argv: a thousand snapshot names help nobody.
func printable(argv []string) string {
	const maxWords = 16
	if len(argv) > maxWords {
		return fmt.Sprintf("%s … (%d more)", strings.Join(argv[:maxWords], " "), len(argv)-maxWords)
	}
	return strings.Join(argv, " ")
}

// sbin is searched after PATH: cron's PATH lacks the directories that hold zfs.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"}

// Find returns the path of a program, from PATH or else from the system's sbin
// directories. The error wraps [ErrNotFound].
func Find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w in PATH or %s", name, ErrNotFound, strings.Join(sbin, ", "))
}

// Lines runs a command that only reads, and calls each with every line of its
// output, without the newline, as it comes. It returns the first error of each,
// of reading, or of the command, as an [*Error]. A last line without a newline is an
// error, too, [ErrCut], after each was called with it.
//
// When ctx ends, the process group is killed and Lines returns at once, even if
// the program hangs in the kernel where no signal reaches it (openzfs #5345).
func Lines(ctx context.Context, c Cmd, each func(line string) error) error {
	p, err := start(c)
	if err != nil {
		return &Error{Argv: c.Argv, Err: err}
	}
	stop := context.AfterFunc(ctx, func() {
		p.kill()
		_ = p.stdout.Close() // wakes the reader below
	})
	defer stop()
	readErr := ReadLines(p.stdout, each)
	cut := errors.Is(readErr, ErrCut)
	if readErr != nil && !cut {
		p.kill()
	}
	_ = p.stdout.Close()
	select {
	case <-ctx.Done():
		return &Error{Argv: c.Argv, Stderr: p.stderr.String(), Err: context.Cause(ctx)}
	case err = <-p.ended:
	}
	if readErr == nil && err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if readErr != nil && (!cut || err == nil) { // how it ended says more
		err = readErr
	}
	return &Error{Argv: c.Argv, Stderr: p.stderr.String(), Err: err}
}

// Output runs a command that only reads and returns what it prints, with a newline at
// its end.
func Output(ctx context.Context, c Cmd) (string, error) {
	var out strings.Builder
	err := Lines(ctx, c, func(line string) error {
		out.WriteString(line)
		out.WriteByte('\n')
		return nil
	})
	if errors.Is(err, ErrCut) {
		err = nil
	}
	return out.String(), err
}

// RunUnkillable runs a command that changes something, and returns what it prints. Nothing
// here ever kills it: a killed channel program stops half done. When ctx ends we stop
// waiting, with [ErrStillRunning]; the command continues.
func RunUnkillable(ctx context.Context, c Cmd) (string, error) {
	p, err := start(c)
	if err != nil {
		return "", &Error{Argv: c.Argv, Err: err}
	}
	type answer struct {
		text []byte
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		text, err := io.ReadAll(p.stdout)
		read <- answer{text, err}
	}()
	var got answer
	select {
	case <-ctx.Done():
		err := fmt.Errorf("%w (process %d): %w", ErrStillRunning, p.pid, context.Cause(ctx))
		return "", &Error{Argv: c.Argv, Stderr: p.stderr.String(), Err: err}
	case got = <-read:
	}
	select {
	case <-ctx.Done():
		err = fmt.Errorf("%w (process %d): %w", ErrStillRunning, p.pid, context.Cause(ctx))
	case err = <-p.ended:
	}
	if err = errors.Join(err, got.err); err != nil {
		return string(got.text), &Error{Argv: c.Argv, Stderr: p.stderr.String(), Err: err}
	}
	return string(got.text), nil
}

// process is a started program. Its end is told on a channel, because waiting for
// a program in uninterruptible sleep would block its caller for ever.
type process struct {
	pid    int
	stdout *os.File
	stderr *head
	ended  <-chan error
}

func start(c Cmd) (*process, error) {
	path, err := Find(c.Argv[0])
	if err != nil {
		return nil, err
	}
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = childStdout.Close() }()
	said := &head{}
	cmd := exec.Command(path, c.Argv[1:]...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout = childStdout
	cmd.Stderr = said
	cmd.ExtraFiles = c.Inherit
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.DiesWithUs {
		// The signal comes when the thread ends that started it. Go ends no thread before the
		// process, but those that a goroutine was locked to.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := cmd.Start(); err != nil {
		_ = stdout.Close()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return &process{pid: cmd.Process.Pid, stdout: stdout, stderr: said, ended: ended}, nil
}

// kill ends the whole process group: pvesh starts children of its own.
func (p *process) kill() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }

func isLocale(env string) bool { return strings.HasPrefix(env, "LC_ALL=") }
