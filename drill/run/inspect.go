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
	readRange(&found, file, "", from, to)
	return found, nil
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
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EBADE): // EBADE is ZFS's error for a wrong checksum
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
	err = regularFiles(dir, func(_ string, info fs.FileInfo) error {
		size += info.Size()
		return nil
	})
	from, to := part.Range(size)
	at := int64(0)
	if err == nil {
		err = regularFiles(dir, func(path string, info fs.FileInfo) error {
			first, last := max(from-at, 0), min(to-at, info.Size())
			if at += info.Size(); first >= last {
				return nil
			}
			file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			name, _ := filepath.Rel(dir, path)
			if readRange(&found, file, " of /"+name, first, last); found.Wrong != "" {
				return filepath.SkipAll
			}
			return nil
		})
	}
	if err != nil { // a directory or a file of this read-only file system cannot be read
		found.Wrong = err.Error()
	}
	return found, nil
}

// regularFiles calls a function for each regular file below dir, always in the same order.
func regularFiles(dir string, each func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return each(path, info)
	})
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
func readRange(found *drill.Inspection, file *os.File, of string, from, to int64) {
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
		found.Wrong = fmt.Sprintf("reading at byte %d%s: %v", at, of, why)
		return
	}
}
