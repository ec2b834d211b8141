package scan

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/command"
	"snapwatch/internal/lock"
	"snapwatch/internal/zfstest"
)

// shares returns the scanner of one of several processes that share a scan. The scanner uses the
// real clock.
func shares(t *testing.T, f *zfstest.Fake, p *played) Scanner {
	s := scanner(f)
	s.Now, s.Run, s.Shared = time.Now, p.run, filepath.Join(filepath.Dir(f.Kstat), "cache", "newest.scan")
	return s
}

// Processes that waited for the scan's lock use the result of the scan that ended while they
// waited. A process that gets the lock without waiting reads the pool itself.
func TestOneScanServesAllWhoWait(t *testing.T) {
	p := &played{world: plainWorld()}
	f := zfstest.New(t, p.world)
	busy, err := lock.WaitTurn(t.Context(), f.LockDir, listLock("tank"), now)
	require.NoError(t, err)
	var scans sync.WaitGroup
	pools := make([]checker.Pool, 40)
	for i := range pools {
		scans.Go(func() { pools[i] = shares(t, f, p).Pool(t.Context(), "tank", []string{"tank"}) })
	}
	time.AfterFunc(200*time.Millisecond, busy.Release)
	scans.Wait()
	gets := 0
	for _, call := range p.calls {
		if strings.HasPrefix(call, "zfs get") {
			gets++
		}
	}
	assert.Equal(t, 1, gets, "%q", p.calls)
	for _, pool := range pools {
		assert.Empty(t, pool.Problem)
		assert.Len(t, pool.Disks, 4)
		assert.Equal(t, "hourly", suffixOf(pool, "tank/vm-100-disk-0"))
	}

	p.calls = nil
	shares(t, f, p).Pool(t.Context(), "tank", []string{"tank"})
	assert.NotEmpty(t, p.calls, "nobody else reads")
}

// If a process's time ends while another process's scan still reads long lists of the pool, the
// process gets the answers that the scan has found so far.
func TestWhoWaitsTooLongGetsWhatIsKnown(t *testing.T) {
	const long = "tank/vm-1-disk-0"
	p := &played{hang: []string{long}, world: zfstest.World{Datasets: []zfstest.Dataset{
		pool("tank"), disk(long, 1, snapshot(hourly, 1), snapshot(foreign, 2)), disk("tank/vm-2-disk-0", 2, snapshot(hourly, 3)),
	}}}
	f := zfstest.New(t, p.world)
	ctx, cancel := context.WithCancel(t.Context())
	listing := make(chan struct{})
	first := shares(t, f, p)
	first.Run = func(ctx context.Context, c command.Cmd, line func(string) error) error {
		if strings.Contains(strings.Join(c.Argv, " "), "-d 1") {
			close(listing)
		}
		return p.run(ctx, c, line)
	}
	ended := make(chan checker.Pool)
	go func() { ended <- first.Pool(ctx, "tank", []string{"tank"}) }()
	<-listing
	soon, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	got := shares(t, f, p).Pool(soon, "tank", []string{"tank"})
	assert.Empty(t, got.Problem)
	require.Len(t, got.Disks, 2)
	assert.Equal(t, "another process is still listing its snapshots", got.Disks[0].Problem)
	assert.Equal(t, hourly, got.Disks[1].Newest.Name)
	cancel()
	<-ended
}

// A process uses the shared scan of another process under three conditions: the scan read the
// wanted datasets, the scan began at about the time of the request, and no other user could have
// written the scan's file.
func TestWhatScanServes(t *testing.T) {
	at := time.Now()
	s := Scanner{Shared: filepath.Join(t.TempDir(), "deep", "newest.scan")}
	place := s.sharedScan("tank", []string{"tank/a", "tank/b"})
	place.publish(checker.Pool{Name: "tank", ReadAt: at}, nil, nil, true)
	for name, c := range map[string]struct {
		pool       string
		roots      []string
		asked, now time.Time
		serves     bool
	}{
		"begun after it was asked for": {"tank", []string{"tank/a", "tank/b"}, at.Add(-5 * time.Second), at.Add(time.Second), true},
		"begun shortly before":         {"tank", []string{"tank/a", "tank/b"}, at.Add(time.Second), at.Add(2 * time.Second), true},
		"begun long before":            {"tank", []string{"tank/a", "tank/b"}, at.Add(2 * time.Second), at.Add(2 * time.Second), false},
		"begun in the future":          {"tank", []string{"tank/a", "tank/b"}, at.Add(-time.Hour), at.Add(-time.Hour), false},
		"other datasets":               {"tank", []string{"tank/a"}, at, at, false},
		"another pool":                 {"tank2", []string{"tank/a", "tank/b"}, at, at, false},
	} {
		_, serves := s.sharedScan(c.pool, c.roots).ifRecent(c.asked, c.now)
		assert.Equal(t, c.serves, serves, name)
	}
	require.NoError(t, os.Chmod(place.path, 0o666))
	_, serves := place.ifRecent(at, at)
	assert.False(t, serves)
	_, serves = Scanner{}.sharedScan("tank", nil).ifRecent(at, at)
	assert.False(t, serves)
}
