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

// HealthFile names the files in which the health of pools is kept, and the file in which root
// reports the places of permanent errors.
type HealthFile struct {
	// Prefix is the beginning of the names of the files that this user writes, one file for each
	// pool. If Prefix is "", no health is kept in files.
	Prefix string
	// Report is the path of root's report of permanent errors, "" for no report.
	Report string
}

func (f HealthFile) path(pool string) string { return f.Prefix + pool + ".json" }

// samePool reports whether two guids may belong to one pool. The guid 0 means an unknown guid,
// which may belong to any pool.
func samePool(a, b uint64) bool { return a == b || a == 0 || b == 0 }

// load returns the last known health of a pool. If the file of the pool's health does not exist or
// cannot be read, load returns nil, so that zpool is run again.
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
	h.Damage = nil // only root's report has it
	text, err := json.Marshal(h)
	if err == nil {
		err = files.Directory(filepath.Dir(f.Prefix), 0o700)
	}
	if err != nil {
		return err
	}
	return files.Replace(f.path(pool), append(text, '\n'), 0o600)
}

// Healths returns the health of each pool, by name. Healths returns at the latest when ctx ends.
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

// Health returns the health of a pool. Health runs zpool, unless zpool was run within the last five
// minutes. The argument `last` is the health that this process read before; if last is nil, Health
// reads the file of an earlier process. zpool is not run for a suspended pool. Health returns nil
// if nothing is known about the pool's health. Callers must not change the returned health.
func (s Scanner) Health(ctx context.Context, f HealthFile, pool string, last *checker.Health) (h *checker.Health) {
	defer func() {
		if e := recover(); e != nil {
			// A pool whose health was never read is immediately reported as unreadable.
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
			last = other // another process ran zpool before this one got the lock
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
			// The file with the time of the first failure could not be written. If FailingSince had
			// a time, each later process would count the failure from its own start, and would
			// never alarm.
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

// learn adds the last known scrub of a pool to the pool's health that was just read.
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

// failed returns the last known health of a pool, with the failure of zpool added.
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

// withDamage adds to a pool's health the places of the permanent errors that root found.
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

// DamageName is the name of the file in the state directory with root's report of the pools'
// errors.
const DamageName = "pool-health.json"

// damageFile is the content of the file named by DamageName.
type damageFile struct {
	Version int                        `json:"version"`
	Pools   map[string]*checker.Damage `json:"pools"`
}

const damageVersion = 1

// LoadDamage reads root's report of the places of each pool's permanent errors. LoadDamage
// returns an error if users other than root could have written the file.
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

// SaveDamage writes root's report of permanent errors. All users may read the report's file.
func SaveDamage(path string, pools map[string]*checker.Damage) error {
	text, err := json.MarshalIndent(damageFile{damageVersion, pools}, "", "  ")
	if err != nil {
		return err
	}
	return files.Replace(path, append(text, '\n'), 0o644)
}

// FindDamage asks zpool for the places of a pool's permanent errors, which needs root. The pool
// must not be suspended.
func (s Scanner) FindDamage(ctx context.Context, pool string, mounts map[string]string) (*checker.Damage, error) {
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	d := checker.Damage{GUID: zfs.PoolGUID(s.Kstat, pool), At: s.Now()}
	err := s.asking(ctx, pool, func(r zfs.Reader) error {
		// The first call counts the errors, and the second call lists them: an error that ZFS finds
		// between the two calls is listed although it was not counted.
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
		d.Unlisted = h.DataErrors > 0 && len(h.Damaged) == 0
		// OpenZFS before 2.2 does not know the feature head_errlog, and the call of Feature fails.
		// Before OpenZFS 2.2, ZFS counts each error once for root, but for other users as often as
		// ZFS found the error.
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

// DamageOf returns the new report of permanent errors: the errors just found, and for pools that
// could not be read the errors of the last report. Pools that are not imported any more are left
// out.
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
