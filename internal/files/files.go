// Package files writes files that other processes read, and reads those that only this user
// or root may have written.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// Replace writes a file as one step, so that a reader finds the old one or the new one, with
// just this mode: neither the umask of a shell nor the mode of the file that was there counts,
// or one run by hand would hide it from a reader for ever.
// Until then it is beside the other, under a name of its own; what was cut off there is removed.
func Replace(path string, text []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(mode), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	removeCutOff(dir, "."+filepath.Base(path))
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// removeCutOff removes the unfinished files of writers that were killed: no other takes an hour.
func removeCutOff(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // the new file may be written all the same
	}
	for _, e := range entries {
		number, unfinished := strings.CutPrefix(e.Name(), prefix)
		if !unfinished || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()).Abs() > time.Hour { //nolint:forbidigo // a file's time is by this clock, too
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Directory makes a directory with this mode, whatever the umask. One that is there keeps
// its own.
func Directory(path string, mode fs.FileMode) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// ReadPrivate reads a file that nobody but this user or root could have written: another's
// could hold anything.
func ReadPrivate(path string) ([]byte, error) {
	return read(path, func(info fs.FileInfo) error {
		owner, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
			return fmt.Errorf("the owner of %s is not known", path)
		case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
			return fmt.Errorf("%s belongs to user %d", path, owner.Uid)
		case info.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("%s can be written by others than its owner", path)
		}
		return nil
	})
}

// Read reads a regular file, and does not wait for whoever made a pipe of it.
func Read(path string) ([]byte, error) {
	return read(path, func(fs.FileInfo) error { return nil })
}

func read(path string, trust func(fs.FileInfo) error) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if err := trust(info); err != nil {
		return nil, err
	}
	return io.ReadAll(file) // the one that was looked at
}
