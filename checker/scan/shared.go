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

// sharedScan is a file with the last scan of a pool. A process writes the file for processes of the
// same user that wait for the lock. With a shared scan, forty checks that start in one second need
// only one listing.
type sharedScan struct {
	path  string
	roots []string
}

// scanned is the content of the file of a [sharedScan].
type scanned struct {
	Version int      `json:"version"`
	Roots   []string `json:"roots"`
	// ReadAt is the time at which the pool was read. ReadAt differs from Pool.ReadAt, which is
	// zero if the scan failed in part.
	ReadAt time.Time    `json:"read_at"`
	Pool   checker.Pool `json:"pool"`
	// Whole is false while lists of snapshots are still read, or if there was no time for all
	// lists.
	Whole bool `json:"whole"`
	// Pending has, by dataset, a digest of the resume token of the pending receive. The time since
	// when a receive is pending is not shared: each process must remember when it first saw the
	// receive.
	Pending map[string]string `json:"pending,omitempty"`
}

const (
	scannedVersion = 2
	// sharedBefore limits which requests may use a shared scan: the scan began at most sharedBefore
	// before the request.
	sharedBefore = time.Second
)

// sharedScan returns the file of the shared scan that reads the given roots of a pool.
func (s Scanner) sharedScan(pool string, roots []string) sharedScan {
	if s.Shared == "" {
		return sharedScan{}
	}
	asked := sha256.Sum256([]byte(strings.Join(roots, "\n")))
	return sharedScan{path: s.Shared + "." + pool + "-" + hex.EncodeToString(asked[:8]) + ".json", roots: roots}
}

// publish writes a scan for other processes; complaint is the error of zfs for this scan. If
// publish cannot write the scan, the other processes read the pool themselves.
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

// ifRecent returns the last shared scan, and whether the scan is recent enough for a request that
// was made at the time `asked`.
func (p sharedScan) ifRecent(asked, now time.Time) (scanned, bool) {
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

// fill fills the argument pool from the shared scan, except the pool's name and guid.
func (s scanned) fill(pool *checker.Pool) {
	name, guid := pool.Name, pool.GUID
	*pool = s.Pool
	pool.Name, pool.GUID = name, guid
}
