// Package quiesce freezes guests while their snapshots are taken. The package thaws the guests even
// if the run that froze them dies.
//
// A window (window.go) is the time in which some guests are frozen. A separate process, the
// watchdog (watchdog.go), freezes the guests of a window when the run tells it to freeze. The
// watchdog thaws the guests when the run tells it to thaw, when the budget is over, or when the run
// has died. Only the watchdog starts the programs that freeze, and these programs die with the
// watchdog, so no program can freeze a guest after the watchdog has thawed it.
//
// Each freeze has one owner: the process that holds the guest's note ([Owned]). The watchdog writes
// the note before it freezes the guest, and the process that saw the guest thawed removes the note.
// A note without a holder comes from a watchdog that died or gave up. The next run takes over a
// note without a holder (owned.go).
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

// Freezer freezes and thaws one guest.
type Freezer interface {
	// Frozen reports whether the guest is frozen, whatever program froze it.
	Frozen(ctx context.Context) (bool, error)
	// Freeze freezes the guest. Freeze returns the number of frozen file systems of a virtual
	// machine, and 1 for a container. After any error except [ErrForeign], the guest may still be
	// frozen. The end of ctx ends the call and the programs that were started for it.
	Freeze(ctx context.Context) (frozen int, err error)
	// Thaw thaws the guest. Thaw returns the number of file systems of a virtual machine that were
	// still frozen at the thaw, and 1 for a container that was still frozen. If the guest is not
	// frozen, Thaw returns no error. For a guest that has ended, the error is [ErrGone].
	Thaw(ctx context.Context) (thawed int, err error)
}

var (
	// ErrForeign means that another program froze the guest, so snapwatch must not thaw it.
	ErrForeign = errors.New("somebody else has frozen it already")
	// ErrOurs means that an earlier freeze by snapwatch has not ended yet.
	ErrOurs = errors.New("an earlier freeze of it has not ended yet")
	// ErrLapsed means that the guest may have continued to run before snapwatch thawed it.
	ErrLapsed = errors.New("it was no longer fully frozen when it was thawed")
	// ErrGone means that a guest that was frozen no longer runs.
	ErrGone = errors.New("it no longer runs")
)

// Host has the functions and values by which snapwatch freezes the guests of a host.
type Host struct {
	// Freezer returns the Freezer of a guest, which uses the guest agent of a virtual machine, or
	// the cgroup of a container.
	Freezer func(pve.ID) Freezer
	// Watchdog starts a watchdog process for the given guests. The watchdog reports its work in
	// lines of text.
	Watchdog func(budget time.Duration, guests []pve.ID) (io.ReadWriteCloser, error)
	// Process returns a text that identifies the guest's process, "" if the guest has none.
	Process func(pve.ID) (string, error)
	// Notes is the directory of the notes about frozen guests.
	Notes note.Dir
	// At most AtOnce virtual machines are frozen at the same time, because pvesh occupies a
	// processor for one or two seconds per machine.
	AtOnce int
	// Now returns the current time.
	Now func() time.Time
}

// Local returns the Host for the machine on which this process runs. watchdog is the path of the
// watchdog's program, which is started with the arguments "snapwatch watchdog", the budget and the
// guests' ids.
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

// ParseID parses a guest's id such as qemu/101.
func ParseID(text string) (pve.ID, bool) {
	kind, number, _ := strings.Cut(text, "/")
	vmid, err := strconv.Atoi(number)
	id := pve.ID{VMID: vmid, Kind: pve.Kind(kind)}
	return id, err == nil && vmid > 0 && (id.Kind == pve.QEMU || id.Kind == pve.LXC) && id.String() == text
}
