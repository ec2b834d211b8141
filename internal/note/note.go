// Package note writes and finds notes about work that a process began and that must be ended, one
// note per file. The process that does the work of a note keeps this note locked. If no process has
// a note locked, the process that wrote the note has died. The next process that finds the note
// ends the work that the note describes.
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

// Dir is a directory of notes. Only root may open the directory. Taking the first note creates the
// directory.
type Dir string

// Note is a note about work that must be ended, which this process keeps locked.
type Note struct {
	file *os.File
	left bool
}

// Busy is the error of taking a note that a process already holds, be it another process or this
// one.
type Busy struct{ Path string }

func (b *Busy) Error() string { return b.Path + " is held by a process that is still at work" }

// Take returns the note of the given name without waiting, and creates the note if it does not
// exist. The error is a [*Busy] if a process holds the note.
func (d Dir) Take(name string) (*Note, error) {
	if err := files.Directory(string(d), 0o700); err != nil {
		return nil, err
	}
	return d.take(name, os.O_CREATE)
}

// Find returns the note of the given name without waiting, as Take does, but Find does not create
// the note. If the note does not exist, the error wraps [fs.ErrNotExist].
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
		// The process that held the note before may have removed the file after this process opened
		// it.
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

// Read decodes the content of a note into v, even if a process holds the note.
func (d Dir) Read(name string, v any) error {
	text, err := os.ReadFile(filepath.Join(string(d), name))
	if err != nil {
		return err
	}
	return decode(filepath.Join(string(d), name), string(text), v)
}

// Names returns the names of all notes in the directory, sorted.
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

// Left reports whether the note was left by a process that no longer exists.
func (n *Note) Left() bool { return n.left }

// Read decodes the content of the note into v.
func (n *Note) Read(v any) error {
	text, err := io.ReadAll(io.NewSectionReader(n.file, 0, 1<<20))
	if err != nil {
		return err
	}
	return decode(n.file.Name(), string(text), v)
}

// decode decodes the first JSON value in the text of a note into v. After the first JSON value, the
// file may have the rest of an older, longer text, because a process was killed before it cut the
// file.
func decode(path, text string, v any) error {
	if err := json.NewDecoder(strings.NewReader(text)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Write replaces the content of the note by v. A process that is killed during Write leaves either
// the old content or the new content.
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

// Sync makes the note outlive a power cut, as the work on a pool does that the note describes.
func (n *Note) Sync() error {
	dir, err := os.Open(filepath.Dir(n.file.Name()))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return errors.Join(n.file.Sync(), dir.Sync())
}

// File returns the open file of the note. Each program that does the work that the note describes
// must inherit the open file. If this process is killed, the note remains locked until all programs
// that inherited the file have ended.
func (n *Note) File() *os.File { return n.file }

// End removes the note, because the work that the note describes has ended.
func (n *Note) End() error {
	err := os.Remove(n.file.Name())
	n.Leave()
	return err
}

// Leave releases the note, but keeps its file for the next process. Leave releases the note even if
// programs that inherited the file still run, because such programs may leave processes in the
// background.
func (n *Note) Leave() {
	_ = syscall.Flock(int(n.file.Fd()), syscall.LOCK_UN)
	_ = n.file.Close()
}
