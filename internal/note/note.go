// Package note keeps notes of what was begun and must be ended, one a file. Whoever works
// on it holds its note locked. A note that nobody holds is of a process that died: whoever
// finds it ends what it tells of.
package note

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"snapwatch/internal/files"
)

// Dir is a directory of notes, which only root may open. It is made when the first one is.
type Dir string

// Note is a note that this process holds.
type Note struct {
	file *os.File
	left bool
}

// Busy means that another process holds the note, or that this one does already.
type Busy struct{ Path string }

func (b *Busy) Error() string { return b.Path + " is held by a process that is still at work" }

// Take returns the note of that name, without waiting. The error is a [*Busy] where somebody
// holds it.
func (d Dir) Take(name string) (*Note, error) {
	if err := files.Directory(string(d), 0o700); err != nil {
		return nil, err
	}
	return d.take(name, os.O_CREATE)
}

// Find is Take for a note that is there already. Without one the error wraps
// [fs.ErrNotExist].
func (d Dir) Find(name string) (*Note, error) { return d.take(name, 0) }

func (d Dir) take(name string, create int) (*Note, error) {
	path := filepath.Join(string(d), name)
	for {
		file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|create, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, &Busy{path}
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever held it may have removed it since it was opened.
		held, err := file.Stat()
		there, statErr := os.Lstat(path)
		if err == nil && statErr == nil && os.SameFile(held, there) {
			return &Note{file: file, left: held.Size() > 0}, nil
		}
		_ = file.Close()
		if err := errors.Join(err, statErr); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// Read reads a note into v, also one that somebody holds.
func (d Dir) Read(name string, v any) error {
	text, err := os.ReadFile(filepath.Join(string(d), name))
	if err != nil {
		return err
	}
	return decode(filepath.Join(string(d), name), string(text), v)
}

// Names returns the names of the notes there are, in order.
func (d Dir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Left reports whether a process left the note behind that is gone.
func (n *Note) Left() bool { return n.left }

// Read reads what the note says into v.
func (n *Note) Read(v any) error {
	text, err := io.ReadAll(io.NewSectionReader(n.file, 0, 1<<20))
	if err != nil {
		return err
	}
	return decode(n.file.Name(), string(text), v)
}

// decode reads the first of what stands there: a note that was written over a longer one may
// not be cut yet.
func decode(path, text string, v any) error {
	if err := json.NewDecoder(strings.NewReader(text)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Write lets the note say v. A process that is killed meanwhile leaves the old text or the
// new one.
func (n *Note) Write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := n.file.WriteAt(append(text, '\n'), 0); err != nil {
		return err
	}
	return n.file.Truncate(int64(len(text) + 1))
}

// File is what a program inherits that works on what the note tells of: should this process
// be killed, the note stays held until all programs have ended that inherited it.
func (n *Note) File() *os.File { return n.file }

// End removes the note: what it tells of has ended.
func (n *Note) End() error {
	err := os.Remove(n.file.Name())
	n.Leave()
	return err
}

// Leave gives the note up and lets it stand, for whoever comes next. It is given up for the
// programs that inherited it, too: they may have left something in the background.
func (n *Note) Leave() {
	_ = syscall.Flock(int(n.file.Fd()), syscall.LOCK_UN)
	_ = n.file.Close()
}
