package exporter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
)

const (
	// configWait is the greatest time for which a scan waits for the check whether the
	// configuration file has changed. Reading the file may hang, for example in /etc/pve.
	configWait = time.Second
	// configSettled is the time for which the configuration file must be unchanged before the
	// exporter reads it without a signal. Half of a file that an editor is writing may be a valid
	// configuration that watches fewer disks.
	configSettled = 2 * time.Second
)

// inForce is the configuration that the exporter uses.
type inForce struct {
	config config.Config
	policy checker.Policy
	// problem says why the exporter does not use the file's current contents, "" if it uses them.
	problem string
}

// configFile follows changes of the configuration file. If the configuration file becomes faulty
// or disappears, the exporter keeps the last good configuration and reports the problem.
type configFile struct {
	// path is the path of the configuration file, "" if the configuration never changes.
	path       string
	load       func() (config.Config, error)
	now        func() time.Time
	maxDataAge time.Duration
	log        *slog.Logger

	current atomic.Pointer[inForce]

	mu sync.Mutex
	// The field `read` has the size and times that the file had when the exporter last read the
	// file, nil before the first reading.
	read os.FileInfo
}

func newConfigFile(s Settings) *configFile {
	// A missing configuration file is an error here, because configFile.look has just found the
	// file: an editor may be moving the file.
	load := func() (config.Config, error) {
		c, err := config.Load(s.ConfigFile)
		if err == nil && s.UseConfig != nil {
			err = s.UseConfig(c)
		}
		return c, err
	}
	f := &configFile{path: s.ConfigFile, load: load, now: s.Scanner.Now, maxDataAge: s.MaxDataAge, log: s.Log}
	f.use(s.Config)
	return f
}

func (f *configFile) use(c config.Config) {
	policy := checker.NewPolicy(c)
	policy.MaxDataAge = f.maxDataAge
	f.current.Store(&inForce{config: c, policy: policy})
}

// follow reads the configuration file if it has changed since the last reading. follow may hang.
func (f *configFile) follow() { f.look(f.settled) }

// reload reads the configuration file even if it has not changed. reload may hang.
func (f *configFile) reload() {
	f.log.Info("reading the configuration again after a signal", "file", f.path)
	f.look(func(os.FileInfo) bool { return true })
}

// look reads the configuration file if the function `wanted` returns true for the file's size and
// times.
func (f *configFile) look(wanted func(os.FileInfo) bool) {
	if f.path == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if _, there := os.Lstat(f.path); errors.Is(err, fs.ErrNotExist) && there != nil {
		f.reportMissing(err)
		return
	}
	if err != nil {
		f.refuse(err)
		return
	}
	if !wanted(info) {
		return
	}
	f.read = info
	c, err := f.load()
	if err != nil {
		f.refuse(err)
		return
	}
	if last := f.current.Load(); last.problem != "" || !reflect.DeepEqual(c, last.config) {
		f.log.Info("configuration read again", "file", f.path)
		f.use(c)
	}
}

// settled reports whether the configuration file has changed since the last reading and
// is old enough to be complete. A file that could not be used counts as changed each time, because
// its permissions may have been corrected without a change of the file.
func (f *configFile) settled(info os.FileInfo) bool {
	if f.current.Load().problem == "" && sameFile(info, f.read) {
		return false
	}
	ago := f.now().Sub(info.ModTime())
	return ago < 0 || ago >= configSettled
}

// reportMissing reports a missing configuration file as a problem if the file existed before.
func (f *configFile) reportMissing(err error) {
	last := f.current.Load()
	if !reflect.DeepEqual(last.config, config.Default()) {
		f.refuse(err)
	} else if last.problem != "" {
		f.use(last.config)
	}
}

func (f *configFile) refuse(err error) {
	next := *f.current.Load()
	if problem := err.Error(); problem != next.problem {
		next.problem = problem
		f.current.Store(&next)
		f.log.Error("configuration refused, the last good one stays in force", "file", f.path, "err", err)
	}
}

func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// config returns the configuration that the exporter uses now.
func (s *Store) config() config.Config { return s.file.current.Load().config }

// configNotes returns a note if the configuration file has a fault.
func (s *Store) configNotes() []checker.Note {
	problem := s.file.current.Load().problem
	if problem == "" {
		return nil
	}
	return []checker.Note{{
		State: checker.Warning,
		Text:  fmt.Sprintf("the changed configuration is refused, and the last good one stays in force: %s", problem),
	}}
}

// Reload reads the configuration file, whether it has changed or not. A scan that has already begun
// continues with the configuration from before.
func (s *Store) Reload() { s.file.reload() }

// followConfig reads the configuration file if it has changed. followConfig waits at most
// configWait.
func (s *Store) followConfig(ctx context.Context) { _, _, _ = s.following.get(ctx, configWait) }

func (s *Store) targets() scan.Targets {
	// The error is ignored: on a host without ZFS the report names the expected pools as missing.
	imported, _ := scan.FindPools(s.settings.Scanner.Kstat)
	return scan.NewTargets(s.config(), imported, s.inventory.disks())
}
