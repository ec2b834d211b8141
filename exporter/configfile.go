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
	"snapwatch/config"
)

const (
	// configWait is how long a scan waits for a look at the configuration's file, which
	// may be where a look hangs, such as below /etc/pve.
	configWait = time.Second
	// configSettled is how long a file must be unchanged before it is read by itself: an
	// editor may be halfway, and half a file may be a valid one that silences or watches less.
	configSettled = 2 * time.Second
)

// inForce is the configuration by which the exporter works.
type inForce struct {
	config config.Config
	policy checker.Policy
	// problem is why the file is not what is in force, "" if it is.
	problem string
}

// configFile follows the configuration's file. One that is faulty or gone changes nothing:
// the last good one stays in force, and the problem is said.
type configFile struct {
	// path is "" where the configuration never changes.
	path       string
	load       func() (config.Config, error)
	now        func() time.Time
	maxDataAge time.Duration
	log        *slog.Logger

	current atomic.Pointer[inForce]

	mu sync.Mutex
	// read is the file as it was before it was last read, nil before that.
	read os.FileInfo
}

func newConfigFile(s Settings) *configFile {
	f := &configFile{path: s.ConfigFile, load: s.LoadConfig, now: s.Scanner.Now, maxDataAge: s.MaxDataAge, log: s.Log}
	f.use(s.Config)
	return f
}

func (f *configFile) use(c config.Config) {
	policy := checker.NewPolicy(c)
	policy.MaxDataAge = f.maxDataAge
	f.current.Store(&inForce{config: c, policy: policy})
}

// follow reads the file if it is another than the one that was read last. It may hang.
func (f *configFile) follow() { f.look(f.settled) }

// reload reads the file whatever it is. It may hang.
func (f *configFile) reload() {
	f.log.Info("told to read the configuration again", "file", f.path)
	f.look(func(os.FileInfo) bool { return true })
}

// look reads the file if it is wanted.
func (f *configFile) look(wanted func(os.FileInfo) bool) {
	if f.path == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if _, there := os.Lstat(f.path); errors.Is(err, fs.ErrNotExist) && there != nil {
		f.gone(err)
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

// settled reports whether the file is another than the one that was read last, and was not
// changed so recently that it may not be whole. A refused one is read each time: a right that
// was missing does not change the file.
func (f *configFile) settled(info os.FileInfo) bool {
	if f.current.Load().problem == "" && sameFile(info, f.read) {
		return false
	}
	ago := f.now().Sub(info.ModTime())
	return ago < 0 || ago >= configSettled
}

// gone is no fault where there never was a file.
func (f *configFile) gone(err error) {
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

// config is the configuration in force.
func (s *Store) config() config.Config { return s.file.current.Load().config }

// configNotes say what is wrong with the configuration's file, and what is done.
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

// Reload reads the configuration's file, whether it has changed or not. A scan under way
// ends by the configuration with which it began.
func (s *Store) Reload() { s.file.reload() }

// followConfig reads the configuration's file if it has changed, and waits a moment for that.
func (s *Store) followConfig(ctx context.Context) { _, _, _ = s.following.get(ctx, configWait) }
