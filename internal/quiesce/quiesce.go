// Package quiesce freezes guests while their snapshot is taken, and thaws them, whatever
// happens to the process that asked for it.
//
// A window (window.go) is the time in which some guests are frozen. Its calls are
// made by the watchdog (watchdog.go), a process of its own: it freezes when it is told to,
// and thaws when it is told to, when the budget is over, and when the process that
// started it is gone. It alone starts what freezes, and what it starts ends with it, so
// that nothing can freeze behind its back once it thaws.
//
// Each freeze has one owner: whoever holds the guest's note ([Owned]). It is written before
// the guest is frozen, and removed by whoever saw it thawed. A note that nobody holds is of
// a watchdog that died or gave up: the next run takes it over (owned.go).
package quiesce

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/note"
	"snapwatch/internal/pve"
)

// Freezer freezes one guest.
type Freezer interface {
	// Frozen reports whether it is frozen, by whomever.
	Frozen(ctx context.Context) (bool, error)
	// Freeze freezes it, and returns how much of it: the file systems of a virtual machine,
	// or 1. After an error it may be frozen all the same, but for [ErrForeign]. The end of
	// ctx ends the call, and what was started for it.
	Freeze(ctx context.Context) (frozen int, err error)
	// Thaw thaws it, and returns how much of it was frozen until then. A guest that is not
	// frozen is no error. [ErrGone] is one that ended.
	Thaw(ctx context.Context) (thawed int, err error)
}

var (
	// ErrForeign means that somebody else froze the guest: it is not ours to thaw.
	ErrForeign = errors.New("somebody else has frozen it already")
	// ErrOurs means that an earlier freeze of ours has not ended yet.
	ErrOurs = errors.New("an earlier freeze of it has not ended yet")
	// ErrLapsed means that it is not proven that the guest was frozen until it was thawed.
	ErrLapsed = errors.New("it was not frozen until it was thawed")
	// ErrGone means that the guest does not run any more.
	ErrGone = errors.New("it does not run any more")
)

// Host is how guests of a host are frozen.
type Host struct {
	// Freezer is that of a guest: by its agent, or by its cgroup.
	Freezer func(pve.ID) Freezer
	// Watchdog starts a watchdog for these guests, which says what it does in lines.
	Watchdog func(budget time.Duration, guests []pve.ID) (io.ReadWriteCloser, error)
	// Process returns what tells a guest's process from any later one of it, "" where none is.
	Process func(pve.ID) (string, error)
	// Notes are of the guests that are frozen.
	Notes note.Dir
	// AtOnce is how many virtual machines are frozen at the same time: each takes a
	// processor for a second or two, in pvesh.
	AtOnce int
	// Now is the clock.
	Now func() time.Time
}

// Local is the host this process runs on. watchdog is the program of the watchdog, which is
// started with the words snapwatch watchdog, the budget and the guests' ids.
func Local(h pve.Host, notes note.Dir, watchdog string, now func() time.Time) Host {
	return Host{
		Freezer: func(id pve.ID) Freezer {
			if id.Kind == pve.LXC {
				return cgroup{dir: h.ContainerCgroup(id.VMID)}
			}
			return agent{vmid: id.VMID}
		},
		Watchdog: func(budget time.Duration, guests []pve.ID) (io.ReadWriteCloser, error) {
			argv := []string{"snapwatch", "watchdog", budget.String()}
			for _, id := range guests {
				argv = append(argv, id.String())
			}
			return command.StartDetached(watchdog, argv)
		},
		Process: h.ProcessID,
		Notes:   notes,
		AtOnce:  runtime.NumCPU(),
		Now:     now,
	}
}

// ParseID reads an id as qemu/101.
func ParseID(text string) (pve.ID, bool) {
	kind, number, _ := strings.Cut(text, "/")
	vmid, err := strconv.Atoi(number)
	id := pve.ID{VMID: vmid, Kind: pve.Kind(kind)}
	return id, err == nil && vmid > 0 && (id.Kind == pve.QEMU || id.Kind == pve.LXC) && id.String() == text
}
