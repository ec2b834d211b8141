package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// sharedScan is where a process leaves what it read of a pool for those of its user that wait
// for their turn meanwhile: forty checks that begin in one second take one listing.
type sharedScan struct {
	path  string
	roots []string
}

// scanned is one scan as it is shared.
type scanned struct {
	Version int      `json:"version"`
	Roots   []string `json:"roots"`
	// ReadAt is when the pool was read. Its own time is zero where that failed in part.
	ReadAt time.Time    `json:"read_at"`
	Pool   checker.Pool `json:"pool"`
	// Whole is false while lists are still to come, or where there was no time for all.
	Whole bool `json:"whole"`
	// Pending are digests of the tokens of the receives that are pending. Since when they are is
	// not shared: each must remember it, or say that nothing does.
	Pending map[string]string `json:"pending,omitempty"`
}

const (
	scannedVersion = 2
	// sharedBefore is how long before it was asked for a scan may have begun that serves
	// somebody who waits.
	sharedBefore = time.Second
)

// sharedScan is the place for these roots of a pool.
func (s Scanner) sharedScan(pool string, roots []string) sharedScan {
	if s.Shared == "" {
		return sharedScan{}
	}
	asked := sha256.Sum256([]byte(strings.Join(roots, "\n")))
	return sharedScan{path: s.Shared + "." + pool + "-" + hex.EncodeToString(asked[:8]) + ".json", roots: roots}
}

// publish leaves a scan for others; complaint is what zfs said beside it. Where that does not
// work, they read the pool themselves.
func (p sharedScan) publish(pool checker.Pool, complaint error, digests map[string]string, whole bool) {
	if p.path == "" {
		return
	}
	readAt := pool.ReadAt
	if complaint != nil {
		fail(&pool, complaint)
	}
	text, err := json.Marshal(scanned{scannedVersion, p.roots, readAt, pool, whole, digests})
	if err != nil || os.MkdirAll(filepath.Dir(p.path), 0o700) != nil {
		return
	}
	_ = files.Replace(p.path, text, 0o600)
}

// since returns the last scan that was left there if it serves somebody who asked at a time.
func (p sharedScan) since(asked, now time.Time) (scanned, bool) {
	if p.path == "" {
		return scanned{}, false
	}
	var last scanned
	text, err := files.ReadPrivate(p.path)
	if err != nil || json.Unmarshal(text, &last) != nil || last.Version != scannedVersion || !slices.Equal(last.Roots, p.roots) {
		return scanned{}, false
	}
	at := last.ReadAt
	return last, !at.Before(asked.Add(-sharedBefore)) && !at.After(now)
}

// into fills in what was read; the pool's name and guid are known.
func (s scanned) into(pool *checker.Pool) {
	name, guid := pool.Name, pool.GUID
	*pool = s.Pool
	pool.Name, pool.GUID = name, guid
}
