package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/note"
	"snapwatch/internal/zfs"
)

// RemoveLeft destroys the clones that earlier drills left and for which no process is at work. It
// finds them by their notes, and in the named pools also without a note. Without notes and pools
// RemoveLeft starts no program. It tries each guest before it waits for any, and waits for orphanTime
// at most.
func RemoveLeft(ctx context.Context, o Options, pools []string) error {
	names, err := o.Notes.Names()
	errs := []error{err}
	guests := map[int][]string{}
	for _, name := range names {
		if vmid, err := strconv.Atoi(name); err == nil {
			guests[vmid] = nil
		}
	}
	for _, pool := range pools {
		all, err := o.drilled(ctx, nil, pool)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_ = drill.Left(all, func(vmid int) bool {
			if !slices.Contains(guests[vmid], pool) {
				guests[vmid] = append(guests[vmid], pool)
			}
			return false
		})
	}
	limited, cancel := context.WithTimeout(ctx, orphanTime)
	defer cancel()
	for todo := slices.Sorted(maps.Keys(guests)); ; {
		var again []int
		var refused []error
		for _, vmid := range todo {
			retry, err := o.removeLeft(ctx, vmid, guests[vmid])
			if retry {
				again, refused = append(again, vmid), append(refused, err)
			} else {
				errs = append(errs, err)
			}
		}
		if len(again) == 0 || wait(limited, watchEvery) != nil {
			return errors.Join(slices.Concat(errs, refused)...)
		}
		todo = again
	}
}

// removeLeft tries once to destroy the clones that a guest's drill left. retry is true if that may
// succeed soon: the last command of a drill that was killed still has the note, or a program that
// looked at a clone has it open.
func (o Options) removeLeft(ctx context.Context, vmid int, pools []string) (retry bool, err error) {
	n, err := o.note(vmid)
	if _, busy := errors.AsType[*note.Busy](err); busy {
		var by noted
		return o.Notes.Read(strconv.Itoa(vmid), &by) == nil && !o.World.Alive(by.Process), nil
	}
	if err != nil {
		return false, err
	}
	if n.Read(&noted{}) != nil { // the note is new, or damaged: the clones may be in any pool
		all, err := o.World.Pools()
		if err != nil {
			n.Leave()
			return false, err
		}
		pools = slices.Concat(pools, all)
		_ = errors.Join(n.Write(noted{pools, os.Getpid()}), n.Sync()) // the clones may go all the same
	}
	err = o.ended(n, vmid, o.destroyLeft(ctx, n, vmid, pools))
	return err != nil && !errors.Is(err, command.ErrStillRunning), err
}

// tidy destroys the clones of a drill at its end. A clone is busy until the programs that looked at
// it have closed its device, so tidy tries again, for tidyTime at most.
func (o Options) tidy(ctx context.Context, n *note.Note, vmid int, pools []string) error {
	limited, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	for {
		err := o.destroyLeft(ctx, n, vmid, pools)
		if err == nil || errors.Is(err, command.ErrStillRunning) || errors.Is(err, errAway) || wait(limited, watchEvery) != nil {
			return o.ended(n, vmid, err)
		}
	}
}

// ended removes the note of a drill whose clones are destroyed. err is the reason why clones are
// left, nil if none is: then the note stays, and by it a later run finds the clones. Of clones that
// come back with their pool, nobody needs to know.
func (o Options) ended(n *note.Note, vmid int, err error) error {
	switch {
	case err == nil:
		return n.End()
	case errors.Is(err, errAway):
		n.Leave()
		return nil
	}
	o.leave(n, err)
	return fmt.Errorf("clones of a drill of guest %d may be left; the next run of snap, prune, health or drill removes them: %w", vmid, err)
}

// leave releases a note, unless a command that changes a pool has not ended: as long as it runs, the
// note stays locked.
func (Options) leave(n *note.Note, err error) {
	if !errors.Is(err, command.ErrStillRunning) {
		n.Leave()
	}
}

// errAway means that clones of an earlier drill may be left in a pool that is not imported, and
// nowhere else.
var errAway = errors.New("its pool is not imported")

// withNoted returns the pools, and those of the note.
func withNoted(n *note.Note, pools []string) []string {
	var before noted
	if err := n.Read(&before); err == nil {
		pools = slices.Concat(pools, before.Pools)
	}
	return slices.Compact(slices.Sorted(slices.Values(pools)))
}

// destroyLeft destroys the clones of a guest's drills in the pools, and in those of the note.
func (o Options) destroyLeft(ctx context.Context, n *note.Note, vmid int, pools []string) error {
	var errs []error
	var away error
	for _, pool := range withNoted(n, pools) {
		all, err := o.drilled(ctx, n.File(), pool)
		if errors.Is(err, zfs.ErrNotImported) && !slices.Contains(pools, pool) {
			away, err = fmt.Errorf("%w: %w", errAway, err), nil
		}
		errs = append(errs, err)
		for _, clone := range drill.Left(all, func(of int) bool { return of == vmid }) {
			if ctx.Err() != nil {
				return errors.Join(append(errs, context.Cause(ctx))...)
			}
			err := o.changeWithin(ctx, n.File(), drill.Destroy(clone)) // a clone may wait, and the caller must not
			if zfs.OnlyMissing(err) {
				err = nil
			}
			errs = append(errs, err)
			if errors.Is(err, command.ErrStillRunning) {
				break
			}
		}
	}
	return cmp.Or(errors.Join(errs...), away)
}
