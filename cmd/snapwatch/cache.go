package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"snapwatch/checker"
)

// cachePath is where the cache is, "" where this user has no place for one.
func cachePath(named string) string {
	if named != "" {
		return named
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "snapwatch", "newest.json")
}

// save keeps the cache if that takes no longer than the time that is left. A cache that
// cannot be kept costs time at the next check, and nothing else, where this one came to its
// end ([result.keep]).
func (r result) save(left time.Duration) error {
	if r.cachePath == "" {
		return errors.New("this user has no cache directory")
	}
	if !r.cache.Unsaved() {
		return nil
	}
	saved := make(chan error, 1)
	go func() {
		saved <- errors.Join(os.MkdirAll(filepath.Dir(r.cachePath), 0o700), r.cache.Save(r.cachePath))
	}()
	select {
	case err := <-saved:
		return err
	case <-time.After(max(left, 0)):
		return errors.New("writing " + r.cachePath + " takes too long")
	}
}

// keep saves what a scan had found when its time was up, for the next one to go on from,
// and says so where it cannot: that one would begin anew, and have no more time.
func (r result) keep() []checker.Note {
	const timeout = 100 * time.Millisecond
	if err := r.save(timeout); err != nil {
		return []checker.Note{{State: checker.Warning, Text: fmt.Sprintf("the next check begins anew, as what was found cannot be kept; name a file with --cache: %v", err)}}
	}
	return nil
}
