package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/zfs"
)

// prove makes the clones and looks at them. The error is the reason why it is unknown whether the
// copies can be used.
func (o Options) prove(ctx context.Context, lock *os.File, p drill.Plan, result *drill.Proof) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.MaxDrill, fmt.Errorf("it did not end within %s", p.MaxDrill))
	defer cancel()
	ctx, stop := o.watch(ctx, lock, datasets(p.Guest))
	defer stop()
	result.Reach = drill.Nothing
	for _, c := range p.Clones {
		switch err := o.change(ctx, lock, p.Clone(c)); {
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		case zfs.OnlyMissing(err), errors.Is(err, command.ErrStillRunning):
			return err
		case zfs.Unreadable(err, c.Snapshot):
			return o.fault(ctx, p, result, fmt.Sprintf("%s cannot be cloned: %v", c.Snapshot, err))
		case err != nil: // the reason may be the host's, such as a quota
			return err
		}
	}
	result.Reach = drill.Cloned
	p.Clones = slices.Clone(p.Clones)
	for i, c := range p.Clones {
		if c.Filesystem {
			continue
		}
		wait, end := context.WithTimeoutCause(ctx, changeTime, fmt.Errorf("%s did not appear within %s", c.Device, changeTime))
		device, err := o.World.AwaitDevice(wait, c)
		end()
		if err != nil {
			return err
		}
		p.Clones[i].Device = device
	}
	if err := o.inspect(ctx, lock, p, result); err != nil {
		return err
	}
	checked := true
	if paths := devices(p); len(paths) > 0 {
		sight, err := o.World.Look(ctx, lock, paths)
		switch {
		case ctx.Err() != nil: // what was found after the look was ended is no fault of the copy
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		if err := o.fault(ctx, p, result, sight.Wrong...); err != nil {
			return err
		}
		result.Remarks = append(result.Remarks, sight.Remarks...)
		checked = sight.FileSystems > 0
	}
	if len(result.Wrong) > 0 {
		return nil
	}
	if checked {
		result.Reach = drill.Checked
	}
	return o.boot(ctx, lock, p, result)
}

// fault adds faults to the result. Reads fail on a pool that is suspended, whatever the copy is
// worth, so fault first asks the pools. A fault in the result stays, also if the drill ends early.
func (o Options) fault(ctx context.Context, p drill.Plan, result *drill.Proof, wrong ...string) error {
	if len(wrong) == 0 {
		return nil
	}
	for _, pool := range p.Pools() {
		if _, err := o.World.Space(ctx, pool); err != nil {
			return err
		}
	}
	result.Wrong = append(result.Wrong, wrong...)
	return nil
}

// inspect reads the plan's part of each clone, and looks at the datasets of containers.
func (o Options) inspect(ctx context.Context, lock *os.File, p drill.Plan, result *drill.Proof) error {
	containers, systems := 0, 0
	result.Part = p.Part
	for _, c := range p.Clones {
		if !c.Filesystem && p.Part == nil {
			continue
		}
		found, err := o.World.Inspect(ctx, lock, c, p.Part)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		}
		result.ReadBytes += found.Bytes
		if found.Wrong != "" {
			if err := o.fault(ctx, p, result, c.Snapshot+": "+found.Wrong); err != nil {
				return err
			}
		}
		if found.System != "" {
			result.Remarks = append(result.Remarks, found.System)
		}
		if c.Filesystem {
			containers++
		}
		if found.IsSystem {
			systems++
		}
	}
	if containers > 0 && systems == 0 && len(result.Wrong) == 0 {
		return o.fault(ctx, p, result, "no dataset of the container has the root directory of a system")
	}
	if p.Part != nil && len(result.Wrong) == 0 {
		result.Reach = drill.Read
	}
	return nil
}

// boot starts the guest from its clones, if the plan says so.
func (o Options) boot(ctx context.Context, lock *os.File, p drill.Plan, result *drill.Proof) error {
	if p.Boot == nil {
		return nil
	}
	started, err := o.World.Boot(ctx, lock, p)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case started.Booted:
		result.Reach = drill.Booted
		result.Remarks = append(result.Remarks, started.Said)
	case started.Tried:
		return o.fault(ctx, p, result, "it did not start: "+started.Said)
	default:
		result.Remarks = append(result.Remarks, "not started: "+started.Said)
	}
	return nil
}
