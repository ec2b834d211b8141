package command

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// Detached is a program that runs beside this one and continues when this one is
// killed: it has a session of its own, and of the files that are open here it gets
// none, so that it keeps no lock. What it reads ends when this process ends.
type Detached struct {
	stdin, stdout *os.File
}

// StartDetached starts the program at path, detached.
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
	go func() { _ = cmd.Wait() }() // its end shows in what it prints
	return &Detached{stdin: stdin, stdout: stdout}, nil
}

// Read reads what it prints.
func (c *Detached) Read(p []byte) (int, error) { return c.stdout.Read(p) }

// Write gives it something to read.
func (c *Detached) Write(p []byte) (int, error) { return c.stdin.Write(p) }

// Close ends what it reads. What it prints after that is lost.
func (c *Detached) Close() error {
	_ = c.stdout.Close()
	return c.stdin.Close()
}
