package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/note"
	"snapwatch/internal/pve"
)

// fileSystems is the number of file systems of each fake guest.
const fileSystems = 2

// guest is a guest of the fake host, with the guest's state and behaviour.
type guest struct {
	mu     sync.Mutex
	frozen bool
	calls  []string
	// If `hangs` is true, a call of Freeze waits until its timeout. If both `hangs` and `late` are
	// true, the call waits until its timeout, and then succeeds.
	hangs, late bool
	// A call of Freeze waits until the channel `until` is closed, even beyond the timeout of the
	// call. If `until` is nil, Freeze does not wait for a channel.
	until chan struct{}
	// The field `takes` is the duration of a call of Freeze.
	takes time.Duration
	// The field `fails` is the error of Freeze. The field `stuck` is the number of calls of Thaw
	// that fail before the first success.
	fails error
	stuck int
	gone  bool
	// process identifies the guest's present process.
	process string
	// lapses is true if the frozen guest continued by itself before the thaw. lost is true if the
	// answer of the first call of Thaw is lost.
	lapses, lost bool
	// If `lies` is true, the guest says that it continued before the thaw, although it is frozen.
	lies bool
}

func (g *guest) note(call string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, call)
}

func (g *guest) is() (frozen bool, calls []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.frozen, append([]string{}, g.calls...)
}

func (g *guest) Frozen(context.Context) (bool, error) {
	frozen, _ := g.is()
	return frozen, nil
}

func (g *guest) Freeze(ctx context.Context) (int, error) {
	g.note("freeze")
	time.Sleep(g.takes)
	if g.hangs {
		<-ctx.Done()
	}
	if g.until != nil {
		<-g.until
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen {
		return 0, ErrForeign
	}
	g.frozen = g.fails == nil && (!g.hangs || g.late)
	return fileSystems, errors.Join(g.fails, ctx.Err())
}

func (g *guest) Thaw(context.Context) (int, error) {
	g.note("thaw")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return 0, ErrGone
	}
	if g.stuck--; g.stuck >= 0 {
		return 0, errors.New("does not thaw")
	}
	if g.lies {
		return 0, fmt.Errorf("%w: VSS gave up", ErrLapsed)
	}
	thawed := 0
	if g.frozen {
		thawed = fileSystems
	}
	g.frozen = false
	if g.lost {
		g.lost = false
		return 0, errors.New("the answer was lost")
	}
	if g.lapses {
		return 0, fmt.Errorf("%w: VSS gave up", ErrLapsed)
	}
	return thawed, nil
}

// set freezes or thaws the guest, as if a program other than snapwatch had done it.
func (g *guest) set(frozen bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = frozen
}

// rig is a fake host with fake guests, whose watchdog runs in this process.
type rig struct {
	Host
	guests map[pve.ID]*guest
	ids    []pve.ID
	// watchdog is the watchdog's end of the pipes to the run. The channel `ended` is closed after
	// the watchdog has returned.
	watchdog pipes
	ended    chan struct{}
	told     chan struct{}
}

type pipes struct {
	io.Reader
	io.Writer
	close func() error
}

func (p pipes) Close() error { return p.close() }

// newRig returns a fake host with n guests.
func newRig(t *testing.T, n int) *rig {
	r := &rig{guests: map[pve.ID]*guest{}, ended: make(chan struct{}), told: make(chan struct{})}
	for i := range n {
		id := pve.ID{VMID: 101 + i, Kind: pve.QEMU}
		r.ids = append(r.ids, id)
		r.guests[id] = &guest{}
	}
	r.Host = Host{Freezer: func(id pve.ID) Freezer { return r.guests[id] }, Notes: note.Dir(t.TempDir()), AtOnce: 8, Now: time.Now}
	r.Process = func(id pve.ID) (string, error) {
		g := r.guests[id]
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.process, nil
	}
	r.Host.Watchdog = func(budget time.Duration, guests []pve.ID) (io.ReadWriteCloser, error) {
		in, toGuard := io.Pipe()
		fromGuard, out := io.Pipe()
		r.watchdog = pipes{Reader: in, Writer: out, close: func() error { return errors.Join(in.Close(), out.Close()) }}
		g := &Watchdog{Host: r.Host, Guests: guests, Budget: budget, Told: r.told}
		go func() {
			defer close(r.ended)
			defer func() { _ = out.Close() }()
			_ = g.Run(in, out)
		}()
		return pipes{Reader: fromGuard, Writer: toGuard, close: func() error { return errors.Join(fromGuard.Close(), toGuard.Close()) }}, nil
	}
	return r
}

func (r *rig) open(t *testing.T, budget time.Duration) *Window {
	t.Helper()
	w, err := r.Open(r.ids, budget)
	require.NoError(t, err)
	return w
}

func (r *rig) thawed(t *testing.T) {
	t.Helper()
	for id, g := range r.guests {
		frozen, calls := g.is()
		require.False(t, frozen, "%s is frozen: %v", id, calls)
	}
}
