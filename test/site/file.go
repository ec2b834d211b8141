package site

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// setns is the number of the system call setns(2) on amd64, which package syscall does not
// define.
const setns = 308

// Inside calls the function `do` with the site's root file system. `do` must not start goroutines,
// because goroutines would not see the site's files.
func (s *Site) Inside(do func() error) error {
	namespace, err := os.Open(s.namespace("mount"))
	if err != nil {
		return err
	}
	defer namespace.Close()
	inThread(func() {
		if err = syscall.Unshare(syscall.CLONE_FS); err != nil {
			err = os.NewSyscallError("unshare", err)
			return
		}
		if _, _, errno := syscall.Syscall(setns, namespace.Fd(), syscall.CLONE_NEWNS, 0); errno != 0 {
			err = os.NewSyscallError("setns", errno)
			return
		}
		err = do()
	})
	return err
}

// inThread calls the function `do` in a separate thread that ends afterwards, because do may change
// the thread's namespaces. inThread never uses the main thread: the main thread cannot end, and
// /proc shows the main thread's state as the state of the whole process.
func inThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			inThread(do) // this is the main thread: use another one
			runtime.UnlockOSThread()
			return
		}
		do()
	}()
	<-done
}

// WriteFile writes a file of the site atomically, as pmxcfs and careful programs do: readers never
// see half of the content. WriteFile creates missing parent directories.
func (s *Site) WriteFile(path, content string) error {
	return s.Inside(func() error { return write(path, content, 0o644) })
}

// Install puts a script into BinDir of the site. After Install, the site's processes run the script
// instead of the program with the same name.
func (s *Site) Install(name, script string) error {
	return s.Inside(func() error { return write(filepath.Join(BinDir, name), script, 0o755) })
}

func write(path, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(content), mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// ReadFile reads a file of the site.
func (s *Site) ReadFile(path string) (string, error) {
	var content []byte
	err := s.Inside(func() (err error) {
		content, err = os.ReadFile(path)
		return err
	})
	return string(content), err
}

// Remove removes a file of the site, or a directory with its content. If the file does not exist,
// Remove returns no error.
func (s *Site) Remove(path string) error {
	return s.Inside(func() error { return os.RemoveAll(path) })
}

// lockFile opens a file of the site and takes an exclusive flock(2) on the file, without waiting.
func (s *Site) lockFile(path string) (release func() error, err error) {
	var file *os.File
	err = s.Inside(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			return err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return errors.Join(&os.PathError{Op: "flock", Path: path, Err: err}, file.Close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return file.Close, nil
}
