// Package run carries out the drills that package drill plans: it makes clones, has them looked at,
// and destroys them.
//
// A run may be killed at any moment. Before its first clone it writes a note, and keeps the note
// locked. [RemoveLeft] destroys the clones of each note that no process has locked.
package run

import (
	"context"
	"os"
	"time"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/zfs"
)

// World is everything that a drill reaches outside of this program. [Local] is the World of the
// machine on which the drill happens. A program that gets a lock keeps the lock until the program
// ends.
type World interface {
	Now() time.Time
	// Alive reports whether a process exists, true for the number 0.
	Alive(process int) bool
	// Pools returns the names of all imported pools.
	Pools() ([]string, error)
	// Space returns the space of a pool. The error wraps [zfs.ErrNotImported] if the pool is not
	// imported.
	Space(ctx context.Context, pool string) (drill.Pool, error)
	// Drilled lists the datasets below the dataset of the drills in a pool. The error wraps
	// [zfs.ErrNotImported] if the pool is not imported.
	Drilled(ctx context.Context, lock *os.File, pool string) ([]zfs.Drilled, error)
	// Snapshots lists all snapshots of the datasets, by dataset, the oldest first.
	Snapshots(ctx context.Context, datasets []string) (map[string][]zfs.Snapshot, error)
	// Receiving returns those of the datasets into which a receive is running or was interrupted.
	Receiving(ctx context.Context, lock *os.File, datasets []string) ([]string, error)
	// Change runs a command that changes a pool. If ctx ends, the command continues, and the error
	// is a [command.ErrStillRunning].
	Change(ctx context.Context, lock *os.File, argv []string) error
	// CanLook returns the reason why no drill can look at volumes, nil if it can.
	CanLook() error
	// AwaitDevice waits until the device of a volume's clone exists, and returns the device's own path.
	// The path leads to the clone as long as the clone exists; the link that has the clone's name may
	// still lead to the device of a clone that was destroyed, which another volume may have now.
	AwaitDevice(ctx context.Context, c drill.Clone) (device string, err error)
	// Inspect reads the part of a clone, none if part is nil. It also mounts the clone of a container's
	// dataset and looks at its root directory. An error means that it is unknown whether the clone
	// has a fault.
	Inspect(ctx context.Context, lock *os.File, c drill.Clone, part *checker.Part) (drill.Inspection, error)
	// Look looks at the volumes of a guest by their clones' devices. An error means that it is unknown
	// whether the volumes have faults.
	Look(ctx context.Context, lock *os.File, devices []string) (drill.Sight, error)
	// Boot starts the guest of a plan from its clones.
	Boot(ctx context.Context, lock *os.File, p drill.Plan) (drill.Started, error)
	// Records returns the results of earlier drills. Record adds the result of a drill.
	Records() (drill.Records, error)
	Record(ctx context.Context, g drill.Guest, p checker.Drill) error
}
