package main

import (
	"os"
	"path/filepath"
	"time"
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

// save keeps the cache if that takes no longer than the time that is left.
func (a answer) save(left time.Duration) {
	if a.cache == "" || !a.memory.Unsaved() {
		return
	}
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		// A cache that cannot be kept costs time at the next check, and nothing else.
		_ = os.MkdirAll(filepath.Dir(a.cache), 0o700)
		_ = a.memory.Save(a.cache)
	}()
	select {
	case <-saved:
	case <-time.After(max(left, 0)):
	}
}
