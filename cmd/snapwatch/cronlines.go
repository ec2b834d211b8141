package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"snapwatch/internal/crontab"
)

// cronNames matches the names of files that cron reads in a directory (cron(8)).
var cronNames = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// cronLines returns the lines that start snap, prune, or pve-zfs-snap, the program that snapwatch
// replaces. cronLines reads the system's crontabs and root's own. If a crontab cannot be read,
// cronLines returns the reason as an error, with the lines of all crontabs that can be read.
func (e *environment) cronLines() ([]crontab.Entry, error) {
	paths := []string{e.CronFile, e.Crontab, e.RootCrontab}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(e.CronFile), "*"))
	for _, path := range others {
		if path != e.CronFile && cronNames.MatchString(filepath.Base(path)) {
			paths = append(paths, path)
		}
	}
	var all []crontab.Entry
	for _, path := range paths {
		text, readErr := os.ReadFile(path)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = errors.Join(err, readErr)
		}
		system, read := true, cronSearch.ReadSystem
		if path == e.RootCrontab {
			system, read = false, cronSearch.ReadRoots
		}
		found := read(path, string(text))
		ignored := ""
		if len(found) > 0 {
			ignored = cmp.Or(insecure(path, system), crontab.Ignored(string(text), system))
		}
		for i := range found {
			found[i].Ignored = ignored
		}
		all = append(all, found...)
	}
	return all, err
}

// insecure returns the reason, in a crontab's owner, mode or type, why cron ignores the crontab, ""
// if cron reads the crontab. The rules are those of Debian's cron: a crontab of the system may be a
// link, and root's own crontab must have mode 0600.
func insecure(path string, system bool) string {
	link, err := os.Lstat(path)
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	isLink := link.Mode()&fs.ModeSymlink != 0
	stat, known := info.Sys().(*syscall.Stat_t)
	switch perm := info.Mode().Perm(); {
	case !system && isLink:
		return "it is a link"
	case !info.Mode().IsRegular():
		return "it is not a regular file"
	case !owned(info) || isLink && !owned(link):
		return "it is not root's: chown root it"
	case !system && perm != 0o600:
		return fmt.Sprintf("its mode is %04o, not 0600: chmod 600 it", perm)
	case system && perm&0o022 != 0:
		return fmt.Sprintf("others may write it (%s): chmod go-w it", info.Mode())
	case known && stat.Nlink != 1:
		return fmt.Sprintf("it has %d hard links: copy it", stat.Nlink)
	}
	return ""
}

// owned reports whether a file belongs to root or to the user of this process. On a host, the user
// of this process is root; in tests, it is another user.
func owned(info fs.FileInfo) bool {
	stat, known := info.Sys().(*syscall.Stat_t)
	return !known || stat.Uid == 0 || int(stat.Uid) == os.Geteuid()
}

// lines returns the crontab lines that start the job or may start it, without the lines that start
// pve-zfs-snap.
func (j cronJob) lines(env *environment) ([]crontab.Entry, error) {
	all, err := env.cronLines()
	return slices.DeleteFunc(all, func(line crontab.Entry) bool {
		return isOld(line) || line.Job != "" && line.Job != j.word
	}), err
}

// isOld reports whether a crontab line starts pve-zfs-snap, the program that snapwatch replaces.
// isOld returns true if the program's name begins with pve-zfs-snap, the program's first argument
// is neither snap nor prune, and the program's file is not snapwatch.
func isOld(line crontab.Entry) bool {
	if !strings.HasPrefix(filepath.Base(line.Program), oldProgram) {
		return false
	}
	if len(line.Args) > 0 && (line.Args[0] == snapJob.word || line.Args[0] == pruneJob.word) {
		return false
	}
	self, err := os.Executable()
	if err != nil {
		return true
	}
	mine, err := os.Stat(self)
	its, itsErr := os.Stat(line.Program)
	return err != nil || itsErr != nil || !os.SameFile(mine, its)
}

// linesText returns crontab lines as text for a person. If cron never runs a line regularly,
// linesText adds the reason.
func linesText(lines []crontab.Entry) string {
	var all []string
	for _, line := range lines {
		text := line.File + ": " + line.Line
		if why := line.Never(); why != "" {
			text += " (cron never runs it regularly: " + why + ")"
		}
		if line.Problem != "" {
			text += " (not understood: " + line.Problem + ")"
		} else if _, err := programPath(line); err != nil {
			text += fmt.Sprintf(" (cron cannot start it: %v)", err)
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
