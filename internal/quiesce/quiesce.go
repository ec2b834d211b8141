// Package quiesce holds guests still while their snapshot is taken, and lets them go
// on, whatever happens to the process that asked for it.
//
// A window (window.go) is the time in which some guests are frozen. Its calls are
// made by the watchdog (watchdog.go), a process of its own: it freezes when it is told to,
// and thaws when it is told to, when the budget is over, and when the process that
// started it is gone. It only ever thaws what it began to freeze itself. It alone
// starts what freezes, so that nothing can freeze behind its back once it thaws.
package quiesce

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/pve"
)

// Freezer holds one guest still.
type Freezer interface {
	// Frozen tells whether it is frozen, by whomever.
	Frozen(ctx context.Context) (bool, error)
	// Freeze holds it still. After an error it may be so all the same, but for
	// [ErrForeign]. The end of ctx ends the call, and what was started for it.
	Freeze(ctx context.Context) error
	// Thaw lets it go on; a guest that does is no error. [ErrGone] is one that ended.
	Thaw(ctx context.Context) error
}

var (
	// ErrForeign means that somebody else holds the guest still: it is not ours to thaw.
	ErrForeign = errors.New("somebody else has frozen it already")
	// ErrLapsed means that the guest went on by itself, before it was told to.
	ErrLapsed = errors.New("it did not stay still for so long")
	// ErrGone means that the guest does not run any more.
	ErrGone = errors.New("it does not run any more")
)

// Host is how guests of a host are frozen.
type Host struct {
	// Freezer is that of a guest: by its agent, or by its cgroup.
	Freezer func(pve.ID) Freezer
	// Watchdog starts a watchdog for these guests, which says what it does in lines.
	Watchdog func(budget time.Duration, guests []pve.ID) (io.ReadWriteCloser, error)
	// Now is the clock.
	Now func() time.Time
}

// Local is the host this process runs on. watchdog is the program of the watchdog, which is
// started with the words snapwatch watchdog, the budget and the guests' ids.
func Local(h pve.Host, watchdog string, now func() time.Time) Host {
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
		Now: now,
	}
}

// ParseID reads an id as qemu/101.
func ParseID(text string) (pve.ID, bool) {
	kind, number, _ := strings.Cut(text, "/")
	vmid, err := strconv.Atoi(number)
	id := pve.ID{VMID: vmid, Kind: pve.Kind(kind)}
	return id, err == nil && vmid > 0 && (id.Kind == pve.QEMU || id.Kind == pve.LXC) && id.String() == text
}
