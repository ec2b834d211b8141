package command

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// Detached is a program that runs next to this process and continues when this process is killed. A
// Detached program has a session of its own. A Detached program inherits no open file, and
// therefore no lock. The program's input ends when this process ends.
type Detached struct {
	stdin, stdout *os.File
}

// StartDetached starts the program at path detached from this process.
func StartDetached(path string, argv []string) (*Detached, error) {
	childStdin, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = childStdin.Close() }()
	stdout, childStdout, err := os.Pipe()
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	defer func() { _ = childStdout.Close() }()
	cmd := exec.Command(path)
	cmd.Args = argv
	cmd.Dir = "/"
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isLocale), "LC_ALL=C")
	cmd.Stdin, cmd.Stdout = childStdin, childStdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_, _ = stdin.Close(), stdout.Close()
		return nil, &Error{Argv: argv, Err: err}
	}
	go func() { _ = cmd.Wait() }() // for callers, the end of the output is the end of the program
	return &Detached{stdin: stdin, stdout: stdout}, nil
}

// Read reads the program's output.
func (c *Detached) Read(p []byte) (int, error) { return c.stdout.Read(p) }

// Write writes to the program's input.
func (c *Detached) Write(p []byte) (int, error) { return c.stdin.Write(p) }

// Close ends the program's input. Output that the program prints after the call of Close is lost.
func (c *Detached) Close() error {
	_ = c.stdout.Close()
	return c.stdin.Close()
}
