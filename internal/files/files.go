// Package files writes files that other processes read. Package files also reads files, and refuses
// a file that a user other than root and the user of this process may have written.
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

// Replace replaces a file in one step, so that a reader finds either the old file or the new file.
// The new file gets exactly the given mode, whatever the umask and the mode of the old file are.
// If the umask changed the mode, a run that a person starts with a strict umask could hide the file
// from its readers for ever. Replace first writes the new file under a temporary name, in the
// directory of the old file. Replace removes temporary files that killed writers left.
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

// removeCutOff removes temporary files of [Replace] that are older than an hour, because their
// writers were killed.
func removeCutOff(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // an error of removing old files does not prevent writing the new one
	}
	for _, e := range entries {
		number, unfinished := strings.CutPrefix(e.Name(), prefix)
		if !unfinished || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()).Abs() > time.Hour { //nolint:forbidigo // file times are by the same clock
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Directory creates a directory with the given mode, whatever the umask is. An existing directory
// keeps its mode.
func Directory(path string, mode fs.FileMode) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// ReadPrivate reads a file. ReadPrivate refuses a file that a user could have written who is
// neither root nor the user of this process, because such a file cannot be trusted.
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

// Read reads a regular file. Read refuses a pipe instead of waiting for a writer.
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
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := trust(info); err != nil {
		return nil, err
	}
	return io.ReadAll(file) // read from the checked file, even if another file has its name by now
}
