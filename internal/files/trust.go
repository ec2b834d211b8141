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

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// OnlyRoots returns why somebody else than root, or whoever runs this, could change what is
// found at path: the file, each directory up to /, and each link that leads there must be
// theirs and not writable by others. A sticky directory such as /tmp may be: what is theirs
// there nobody else can move or remove.
func OnlyRoots(path string) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		path = dir + "/" + path // not cleaned: what .. means depends on the links before it
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
		next := filepath.Join(at, name) // at has no links, so that its .. is its parent
		if err := onlyRoots(next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if errors.Is(err, syscall.EINVAL) { // no link
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

// onlyRoots is [OnlyRoots] for one step of a path.
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
