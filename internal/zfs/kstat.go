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

// KstatDir is the directory in which ZFS on Linux publishes the state of its pools. Reading a file
// in KstatDir takes no lock, so the reading never hangs.
const KstatDir = "/proc/spl/kstat/zfs"

// ErrNoZFS means that the ZFS module is not loaded on this machine.
var ErrNoZFS = errors.New("the ZFS module is not loaded (modprobe zfs)")

// ErrNotImported means that no pool of this name is imported on this machine.
var ErrNotImported = errors.New("not imported")

// Pools returns the names of the imported pools, sorted. dir is [KstatDir] except in tests. The
// error is [ErrNoZFS] if the ZFS module is not loaded.
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

// PoolGUID returns the guid of an imported pool, or 0 if ZFS does not publish the guid (before
// 2.2). A pool keeps its guid when it is imported under another name.
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

// PoolTXG returns the pool's present transaction group. PoolTXG returns 0 if ZFS does not publish
// the number, because the module parameter zfs_txg_history is 0.
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

// CheckPool returns the reason why no command may be run on the pool, nil if commands may be run.
// Commands must not be run on a suspended pool: a command may hang so that no signal can end it,
// and `zfs list` without names leaves out a suspended pool and exits with status 0.
func CheckPool(dir, pool string) error {
	_, err := PoolState(dir, pool)
	return err
}

// PoolState returns ZFS's word for the state of a pool, such as ONLINE, or "" if the state cannot
// be read. The error is the same error that [CheckPool] returns for the pool.
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
