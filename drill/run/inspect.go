package run

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/text"
)

// Inspect reads the part of a device, none if part is nil. Inspect may hang in the kernel, so it
// runs in a process of its own.
func Inspect(device string, part *checker.Part) (drill.Inspection, error) {
	var found drill.Inspection
	if part == nil {
		return found, nil
	}
	file, err := os.Open(device)
	if err != nil {
		return found, err
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return found, err
	}
	from, to := part.Range(size)
	return orFault(found, readRange(&found, file, "", from, to))
}

// InspectMounted mounts a container's dataset for reading, looks at its root directory, and reads
// the given part of all bytes in the files. Only this goroutine's thread sees the mount, which ends
// with the process.
func InspectMounted(dataset, at string, part *checker.Part) (drill.Inspection, error) {
	runtime.LockOSThread() // for ever: no other goroutine gets the thread's mounts
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return drill.Inspection{}, fmt.Errorf("a mount of %s for this process alone: %w", dataset, err)
	}
	// A dataset that this host unmounts meanwhile is unmounted here, too, and not the other way
	// round.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return drill.Inspection{}, fmt.Errorf("a mount of %s for this process alone: %w", dataset, err)
	}
	const flags = syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	switch err := syscall.Mount(dataset, at, "zfs", flags, ""); {
	case unreadable(err):
		return drill.Inspection{Unmounted: true, Wrong: fmt.Sprintf("mounting it: %v", err)}, nil
	case err != nil:
		return drill.Inspection{}, fmt.Errorf("mount %s: %w", dataset, err)
	}
	return inspectFiles(at, part)
}

// systemDirectories are the directories in the root directory of a Linux system.
var systemDirectories = []string{"etc", "usr", "bin", "sbin"}

// inspectFiles looks at the root directory dir of a container, and reads the part of the bytes of
// its files.
func inspectFiles(dir string, part *checker.Part) (found drill.Inspection, err error) {
	// Root follows no symbolic link that leads out of the container, into the files of this host.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return found, err
	}
	defer func() { _ = root.Close() }()
	for _, name := range systemDirectories {
		if _, err := root.Lstat(name); err == nil {
			found.IsSystem = true
		}
	}
	found.System = cmp.Or(systemName(root, "etc/os-release"), systemName(root, "usr/lib/os-release"))
	if part == nil {
		return found, nil
	}
	var size int64
	err = regularFiles(root, "/", func(_ *os.Root, _ string, info fs.FileInfo) error {
		if size += info.Size(); size < 0 { // files with holes
			return errors.New("the sizes of the files add up to more than a number can be")
		}
		return nil
	})
	from, to := part.Range(size)
	at := int64(0)
	if err == nil {
		err = regularFiles(root, "/", func(in *os.Root, path string, info fs.FileInfo) error {
			first, last := max(from-at, 0), min(to-at, info.Size())
			if at += info.Size(); first >= last {
				return nil
			}
			file, err := in.OpenFile(info.Name(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			defer func() { _ = file.Close() }()
			return readRange(&found, file, " of "+path, first, last)
		})
	}
	return orFault(found, err)
}

// unreadable reports whether an error says that the copy cannot be read. Any other error may be the
// host's. EBADE is ZFS's error for a wrong checksum.
func unreadable(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EBADE)
}

// orFault makes an error that says that the copy cannot be read the fault that was found.
func orFault(found drill.Inspection, err error) (drill.Inspection, error) {
	if unreadable(err) {
		found.Wrong, err = err.Error(), nil
	}
	return found, err
}

// regularFiles calls a function for each regular file of a directory and below it, always in the same
// order. Each directory is opened from the one above it, because a whole path may be longer than the
// kernel takes.
func regularFiles(dir *os.Root, path string, each func(dir *os.Root, path string, info fs.FileInfo) error) error {
	list, err := dir.Open(".")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	entries, err := list.ReadDir(-1)
	_ = list.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		path := filepath.Join(path, entry.Name())
		switch {
		case entry.IsDir():
			below, err := dir.OpenRoot(entry.Name())
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			err = regularFiles(below, path, each)
			_ = below.Close()
			if err != nil {
				return err
			}
		case entry.Type().IsRegular():
			info, err := dir.Lstat(entry.Name())
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := each(dir, path, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// systemName returns the name of a Linux system from a file like os-release, "" if there is none.
func systemName(root *os.Root, path string) string {
	const most = 16 << 10
	file, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	all, _ := io.ReadAll(io.LimitReader(file, most))
	for line := range strings.Lines(string(all)) {
		if name, is := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); is {
			return text.Clip(text.Plain(strings.Trim(name, `"'`)), 100)
		}
	}
	return ""
}

// readRange reads the bytes from, up to but not including to, of a device or file. of names the
// file.
func readRange(found *drill.Inspection, file *os.File, of string, from, to int64) error {
	const chunk = 1 << 20
	buffer := make([]byte, chunk)
	for at := from; at < to; {
		n, err := file.ReadAt(buffer[:min(chunk, to-at)], at)
		at += int64(n)
		found.Bytes += uint64(n)
		if err == nil && n > 0 {
			continue
		}
		why := err
		if failed, is := errors.AsType[*fs.PathError](err); is {
			why = failed.Err
		}
		return fmt.Errorf("reading at byte %d%s: %w", at, of, why)
	}
	return nil
}
