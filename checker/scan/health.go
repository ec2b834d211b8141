package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// HealthFile is where what zpool says of pools is kept, and root's report of their errors is
// found.
type HealthFile struct {
	// Prefix begins the names of the files that this user writes, one for each pool; "" keeps
	// nothing.
	Prefix string
	// Report is root's, "" for none.
	Report string
}

func (f HealthFile) path(pool string) string { return f.Prefix + pool + ".json" }

// samePool reports whether two guids may be one pool's; 0 is one that is not known.
func samePool(a, b uint64) bool { return a == b || a == 0 || b == 0 }

// load returns what was known of a pool, nil where nothing was or it cannot be read: then the
// pool is asked.
func (f HealthFile) load(pool string, guid uint64) *checker.Health {
	if f.Prefix == "" {
		return nil
	}
	text, err := files.ReadPrivate(f.path(pool))
	var h checker.Health
	if err != nil || json.Unmarshal(text, &h) != nil || !samePool(h.GUID, guid) {
		return nil
	}
	h.Damage = nil
	return &h
}

func (f HealthFile) save(pool string, h checker.Health) error {
	if f.Prefix == "" {
		return nil
	}
	h.Damage = nil // root says
	text, err := json.Marshal(h)
	if err == nil {
		err = files.Directory(filepath.Dir(f.Prefix), 0o700)
	}
	if err != nil {
		return err
	}
	return files.Replace(f.path(pool), append(text, '\n'), 0o600)
}

// Healths returns how the pools are, by name. It returns when ctx ends at the latest.
func (s Scanner) Healths(ctx context.Context, f HealthFile, pools []string) map[string]*checker.Health {
	all := make([]*checker.Health, len(pools))
	var asking sync.WaitGroup
	for i, pool := range pools {
		asking.Go(func() { all[i] = s.Health(ctx, f, pool, nil) })
	}
	asking.Wait()
	known := map[string]*checker.Health{}
	for i, pool := range pools {
		known[pool] = all[i]
	}
	return known
}

// Health returns how a pool is: it asks zpool, unless that was asked within the last five
// minutes. last is what this process knows already, nil for what the last one left. A pool that is suspended
// is asked nothing. The result is nil where nothing is known; nobody may change it.
func (s Scanner) Health(ctx context.Context, f HealthFile, pool string, last *checker.Health) (h *checker.Health) {
	defer func() {
		if e := recover(); e != nil {
			// What was never read alarms at once.
			h = &checker.Health{Problem: fmt.Sprintf("internal error while asking zpool of %s: %v\n%s", pool, e, debug.Stack())}
		}
	}()
	guid := zfs.PoolGUID(s.Kstat, pool)
	if last != nil && !samePool(last.GUID, guid) {
		last = nil
	}
	remembered := last != nil
	if last == nil {
		last = f.load(pool, guid)
	}
	if !s.due(last) || zfs.CheckPool(s.Kstat, pool) != nil {
		return s.withDamage(f, pool, guid, last)
	}
	var next checker.Health
	asked := false
	err := s.asking(ctx, pool, func(r zfs.Reader) (err error) {
		if other := f.load(pool, guid); other != nil && !s.due(other) {
			last = other // of a process that had its turn before this one
			return nil
		}
		asked = true
		next.PoolHealth, err = r.Health(ctx, pool)
		return err
	})
	switch {
	case err != nil:
		last = s.failed(last, pool, err)
	case asked:
		last = s.learn(last, next)
	}
	if err != nil || asked {
		last.GUID = guid
		began := last.FailingSince.Equal(last.AskedAt)
		if f.save(pool, *last) != nil && began && !remembered {
			// The next process would count from then, too, and never alarm.
			last.FailingSince = time.Time{}
		}
	}
	return s.withDamage(f, pool, guid, last)
}

func (s Scanner) due(h *checker.Health) bool {
	if h == nil {
		return true
	}
	since := s.Now().Sub(h.AskedAt)
	return since < 0 || since >= checker.HealthInterval
}

// learn adds what is remembered to what was just read.
func (s Scanner) learn(last *checker.Health, next checker.Health) *checker.Health {
	next.ReadAt, next.AskedAt = s.Now(), s.Now()
	switch {
	case next.Scrub.State == zfs.ScanFinished:
		next.LastScrub, next.LastScrubErrors = next.Scrub.End, next.Scrub.Errors
	case last != nil:
		next.LastScrub, next.LastScrubErrors = last.LastScrub, last.LastScrubErrors
	}
	return &next
}

// failed is what is known after zpool failed.
func (s Scanner) failed(last *checker.Health, pool string, err error) *checker.Health {
	next, now := checker.Health{}, s.Now()
	if last != nil {
		next = *last
	}
	if next.Problem == "" || next.FailingSince.After(now) {
		next.FailingSince = now
	}
	next.Problem, next.AskedAt = problemText(pool, err), now
	return &next
}

// withDamage adds where root found errors.
func (s Scanner) withDamage(f HealthFile, pool string, guid uint64, h *checker.Health) *checker.Health {
	if h == nil || f.Report == "" {
		return h
	}
	with := *h
	with.Damage = nil
	if report, err := LoadDamage(f.Report); err == nil {
		if d := report[pool]; d != nil && samePool(d.GUID, guid) {
			with.Damage = d
		}
	}
	return &with
}

// DamageName is the file in the state directory with root's report of pools' errors.
const DamageName = "pool-health.json"

// damageFile is that report.
type damageFile struct {
	Version int                        `json:"version"`
	Pools   map[string]*checker.Damage `json:"pools"`
}

const damageVersion = 1

// LoadDamage reads root's report: where each pool has permanent errors. One that somebody else
// could have written is an error.
func LoadDamage(path string) (map[string]*checker.Damage, error) {
	text, err := files.ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	var file damageFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if file.Version != damageVersion {
		return nil, fmt.Errorf("%s: version %d is not known", path, file.Version)
	}
	return file.Pools, nil
}

// SaveDamage writes the report for all to read.
func SaveDamage(path string, pools map[string]*checker.Damage) error {
	text, err := json.MarshalIndent(damageFile{damageVersion, pools}, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(path, append(text, '\n'), 0o644)
}

// FindDamage asks where a pool has permanent errors, which needs root. The pool must not be
// suspended.
func (s Scanner) FindDamage(ctx context.Context, pool string, mounts map[string]string) (*checker.Damage, error) {
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	d := checker.Damage{GUID: zfs.PoolGUID(s.Kstat, pool), At: s.Now()}
	err := s.asking(ctx, pool, func(r zfs.Reader) error {
		// The count comes first: an error that is found meanwhile is one more than was counted.
		counted, err := r.Health(ctx, pool)
		if err != nil || counted.DataErrors == 0 {
			return err
		}
		h, err := r.HealthAndDamage(ctx, pool)
		if err != nil {
			return err
		}
		if h.DataErrors > 0 && h.Damaged == nil {
			return errors.New("zpool status -v does not say where the errors are")
		}
		d.Damage = zfs.ResolveDamage(h.Damaged, mounts)
		d.Unlisted = h.DataErrors > uint64(len(h.Damaged))
		// An OpenZFS that does not know the feature (before 2.2) says so by failing. There root
		// counts an error once, and others as often as it was found.
		if feature, err := r.Feature(ctx, pool, "head_errlog"); err == nil {
			d.Exact, d.Counted = feature == "active", counted.DataErrors
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", pool, err)
	}
	return &d, nil
}

// DamageOf is the report with what was just found, and of pools that could not be asked, what
// the last one said. Pools that are not here any more are left out.
func DamageOf(last, found map[string]*checker.Damage, pools []string) map[string]*checker.Damage {
	all := map[string]*checker.Damage{}
	for _, pool := range pools {
		if d := found[pool]; d != nil {
			all[pool] = d
		} else if d := last[pool]; d != nil {
			all[pool] = d
		}
	}
	return all
}
