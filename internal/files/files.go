// Package files writes files that other processes read.
package files

import (
	"errors"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"
)

// Replace writes a file as one step, so that a reader finds the old one or the new one, with
// just this mode: neither the umask of a shell nor the mode of the file that was there counts,
// or one run by hand would hide it from a reader for ever.
func Replace(path string, text []byte, mode fs.FileMode) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(mode), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
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
