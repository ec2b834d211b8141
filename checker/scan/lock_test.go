package scan

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// Any user of the host can hold the scan's shared lock: the scan reports that it did not get the
// lock, and reads the pool nevertheless.
func TestScanWhileSomebodyHoldsTheLock(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	held, err := os.Create(filepath.Join(f.LockDir, "snapwatch-list-tank.lock"))
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
	s := scanner(f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := s.Pool(ctx, "tank", []string{"tank"})
	assert.Empty(t, p.Problem)
	assert.Len(t, p.Disks, 4)
	assert.Contains(t, strings.Join(p.Remarks, "\n"), "snapwatch-list-tank.lock is locked by another process: not waited for")
}

// If there is no directory for lock files, the scan reads the pool without a lock, with the same
// result as with a lock.
func TestScanWithoutLocks(t *testing.T) {
	f := zfstest.New(t, plainWorld())
	require.NoError(t, os.RemoveAll(f.LockDir))
	p := scan(t, scanner(f))
	assert.Empty(t, p.Problem)
	assert.Contains(t, strings.Join(p.Remarks, "\n"), "no such file or directory: not waited for")
}
