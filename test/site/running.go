package site

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Running is a running process of a site.
type Running struct {
	PID  int
	Argv []string
}

// Processes returns the running processes of the site, so that tests can check that no process
// remains.
func (s *Site) Processes() ([]Running, error) {
	var own syscall.Stat_t
	if err := syscall.Stat(s.namespace("mount"), &own); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
	if err != nil {
		return nil, err
	}
	var all []Running
	for _, path := range paths {
		var ns syscall.Stat_t
		if syscall.Stat(path, &ns) != nil || ns.Dev != own.Dev || ns.Ino != own.Ino {
			continue
		}
		dir := filepath.Dir(filepath.Dir(path))
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(text) == 0 {
			continue // the process has ended
		}
		all = append(all, Running{pid, strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")})
	}
	return all, nil
}
