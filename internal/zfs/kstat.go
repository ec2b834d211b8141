package zfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// KstatDir is where ZFS on Linux tells about its pools without taking a lock, so
// that reading there never hangs.
const KstatDir = "/proc/spl/kstat/zfs"

// ErrNoZFS means that the ZFS module is not loaded on this machine.
var ErrNoZFS = errors.New("the ZFS module is not loaded (modprobe zfs)")

// ErrNotImported means that there is no such pool on this machine now.
var ErrNotImported = errors.New("not imported")

// Pools lists the imported pools by name, in order. dir is [KstatDir] but in tests.
// The error is [ErrNoZFS] where there is no ZFS.
func Pools(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoZFS
	}
	if err != nil {
		return nil, err
	}
	var pools []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "state")); err == nil {
			pools = append(pools, e.Name())
		}
	}
	slices.Sort(pools)
	return pools, nil
}

// PoolGUID returns the guid of an imported pool, which it keeps when it is imported under
// another name; 0 where ZFS does not tell (before 2.2).
func PoolGUID(dir, pool string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, pool, "guid"))
	if err != nil {
		return 0
	}
	guid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return guid
}

// PoolTXG returns the transaction group that the pool is in, 0 where ZFS does not tell
// (the module's zfs_txg_history may be 0).
func PoolTXG(dir, pool string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, pool, "txgs"))
	if err != nil {
		return 0
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	number, _, _ := strings.Cut(lines[len(lines)-1], " ")
	txg, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return txg
}

// CheckPool returns nil when the pool can be asked, and otherwise an error that
// says why not. A suspended pool is never asked: commands on it may hang beyond
// the reach of any signal, and `zfs list` without names leaves it out and exits 0.
func CheckPool(dir, pool string) error {
	_, err := PoolState(dir, pool)
	return err
}

// PoolState returns ZFS's word for the state of a pool, "" where there is none, with the error
// of [CheckPool].
func PoolState(dir, pool string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, pool, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("pool %s: %w", pool, ErrNoZFS)
		}
		return "", fmt.Errorf("pool %s is %w (zpool import %s)", pool, ErrNotImported, pool)
	}
	if err != nil {
		return "", fmt.Errorf("pool %s: %w", pool, err)
	}
	switch state := strings.TrimSpace(string(text)); state {
	case "ONLINE", "DEGRADED":
		return state, nil
	case "SUSPENDED":
		return state, fmt.Errorf("pool %s is suspended: its I/O failed (zpool status %s, then zpool clear %s)", pool, pool, pool)
	default:
		return state, fmt.Errorf("pool %s is %s (zpool status %s)", pool, state, pool)
	}
}
