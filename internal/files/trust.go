package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is the greatest number of symbolic links through which a path may lead. The kernel
// follows at most 40 links, too.
const maxLinks = 40

// OnlyRoots returns an error if a user other than root and the current user could change the file
// at path. The file, each directory above it and each symbolic link on the way must belong to root
// or the current user, and others must not be able to write to the file or a directory. A sticky
// directory such as /tmp may be writable by others, because in such a directory other users cannot
// move or remove the files of root and of the current user.
func OnlyRoots(path string) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		path = dir + "/" + path // not cleaned, because the meaning of .. depends on the links before it
	}
	at, rest := "/", strings.Split(path, "/")
	links := 0
	if err := onlyRoots(at); err != nil {
		return err
	}
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" {
			continue
		}
		next := filepath.Join(at, name) // at contains no links, so .. leads to the parent of at
		if err := onlyRoots(next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if errors.Is(err, syscall.EINVAL) { // not a link
			at = next
			continue
		}
		if err != nil {
			return err
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s: too many links", path)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// onlyRoots makes the checks of [OnlyRoots] for one component of a path: the file, a directory or a
// link.
func onlyRoots(step string) error {
	info, err := os.Lstat(step)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	sticky := info.Mode()&(fs.ModeDir|fs.ModeSticky) == fs.ModeDir|fs.ModeSticky
	switch {
	case !ok:
		return fmt.Errorf("the owner of %s is not known", step)
	case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: chown root it", step, owner.Uid)
	case info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 && !sticky:
		return fmt.Errorf("others may write %s (%s): chmod go-w it", step, info.Mode())
	}
	return nil
}
