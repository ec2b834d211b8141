// Package command is the only place that starts programs: zfs, pvesh, systemctl and the user's
// hooks. The package starts programs by argv, never through a shell, with LC_ALL=C. Each program
// gets a process group of its own, so that Ctrl-C at a terminal does not interrupt a running
// channel program.
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

// MaxLine is the greatest length of a line in a command's output, in bytes. A line of zfs holds a
// name of at most 255 bytes and property values of at most 8 KiB.
const MaxLine = 1 << 20

// maxStderr is the length of the longest part of a command's standard error that is kept, in bytes.
const maxStderr = 64 << 10

// ErrNotFound is in the error's chain if the program is not installed.
var ErrNotFound = exec.ErrNotFound

// ErrStillRunning is in the chain of the error of [RunUnkillable] if ctx ended before the command
// ended. ErrStillRunning is in the chain of the error of [RunHook] if a process of the hook still
// exists although RunHook killed the hook.
var ErrStillRunning = errors.New("still running, left behind")

// ErrCut is in the error's chain if the last line of the output has no newline.
var ErrCut = errors.New("the output ends in the middle of a line")

// Cmd is one program to start, with its arguments.
type Cmd struct {
	Argv  []string
	Stdin string
	// Inherit has the files that the program keeps open until it ends. A lock file in Inherit
	// remains locked as long as the program lives, even if the program hangs.
	Inherit []*os.File
	// DiesWithUs makes the kernel kill the program when this process ends, even if this process is
	// killed.
	DiesWithUs bool
}

// Error is the error of a failed command, with the command line and all else that a person needs to
// repeat the command by hand.
type Error struct {
	Argv   []string
	Stderr string
	Err    error
}

// Error returns a text with the cause first and the command line last, so that the text still has
// the cause after its end was cut off. If the caller ended the command for a reason of its own,
// Error returns only this reason.
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
	case ExitCode(e.Err) >= 0: // standard error says more than the exit status
		cause = complaints + ", " + cause
	default:
		cause += ": " + complaints
	}
	return fmt.Sprintf("%s (%s)", cause, printable(e.Argv))
}

func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the exit status in err's chain, or -1 if the chain has no exit status.
func ExitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// printable returns the first sixteen words of a command line, as one text.
func printable(argv []string) string {
	const maxWords = 16
	if len(argv) > maxWords {
		return fmt.Sprintf("%s … (%d more)", strings.Join(argv[:maxWords], " "), len(argv)-maxWords)
	}
	return strings.Join(argv, " ")
}

// sbin has directories that Find searches after those in PATH, because the PATH of cron lacks the
// directories that contain zfs.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"}

// Find returns the path of a program. Find searches PATH, and then the system's own directories for
// programs. The error wraps [ErrNotFound].
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

// Lines runs a command that only reads. As soon as a line of the output arrives, Lines passes the
// line, without its newline, to the function `each`. Lines returns the first error: of the function
// `each`, of reading the output, or of the command. An error of the command is an [*Error]. If the
// last line has no newline, Lines passes this line to the function `each`, too, and returns
// [ErrCut].
//
// When ctx ends, Lines kills the command's process group and returns immediately, even if the
// program hangs in the kernel, where no signal reaches the program (openzfs #5345).
func Lines(ctx context.Context, c Cmd, each func(line string) error) error {
	p, err := start(c)
	if err != nil {
		return &Error{Argv: c.Argv, Err: err}
	}
	stop := context.AfterFunc(ctx, func() {
		p.kill()
		_ = p.stdout.Close() // ends the reading of the program's output
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
	} else if readErr != nil && (!cut || err == nil) { // the program's exit status says more than an error of reading
		err = readErr
	}
	return &Error{Argv: c.Argv, Stderr: p.stderr.String(), Err: err}
}

// Output runs a command that only reads, and returns its output. The returned output is empty or
// ends with a newline.
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

// RunUnkillable runs a command that changes a pool, and returns its output. The command
// is never killed, because a killed channel program stops half done. When ctx ends, RunUnkillable
// returns [ErrStillRunning] and the command continues.
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

// process is a started program. The channel ended reports the program's end. A caller must wait for
// this channel, and must not call [exec.Cmd.Wait], because Wait would block for ever on a program
// in uninterruptible sleep.
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
		// The kernel sends the signal SIGKILL when the thread that started the program ends. Go
		// ends a thread before the end of the process only if a goroutine was locked to the thread.
		// No goroutine that starts a program is locked to a thread, so the kernel sends SIGKILL
		// only when this process ends.
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

// kill kills the program's whole process group, because programs such as pvesh start children of
// their own.
func (p *process) kill() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }

func isLocale(env string) bool { return strings.HasPrefix(env, "LC_ALL=") }
