package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/zfs"
)

// prove makes the clones and looks at them. The error is the reason why it is unknown whether the
// copies can be used.
func (o Options) prove(ctx context.Context, lock *os.File, p drill.Plan, result *checker.Drill) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.MaxDrill, fmt.Errorf("it did not end within %s", p.MaxDrill))
	defer cancel()
	ctx, stop := o.watch(ctx, lock, p.Guest.Datasets())
	defer stop()
	result.Reach = drill.Nothing
	for _, c := range p.Clones {
		switch err := o.change(ctx, lock, p.Clone(c)); {
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		case zfs.OnlyMissing(err), errors.Is(err, command.ErrStillRunning):
			return err
		case zfs.Unreadable(err, c.Snapshot):
			return o.fault(ctx, p, result, checker.FaultFiles, fmt.Sprintf("%s cannot be cloned: %v", c.Snapshot, err))
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
		if err := o.fault(ctx, p, result, checker.FaultFiles, sight.Wrong...); err != nil {
			return err
		}
		result.FileSystems += sight.FileSystems
		result.Unknown = sight.Unknown
		result.Remarks = append(result.Remarks, sight.Remarks...)
		if lost := drill.Lost(p.Before, *result); lost != "" {
			if err := o.fault(ctx, p, result, checker.FaultFiles, lost); err != nil {
				return err
			}
		}
		checked = sight.FileSystems > 0
	}
	if result.Failed() {
		return nil
	}
	if checked {
		result.Reach = drill.Checked
	}
	return o.boot(ctx, lock, p, result)
}

// fault adds faults of a kind to the result. Reads fail on a pool that is suspended, whatever the copy is
// worth, so fault first asks the pools. A fault in the result stays, also if the drill ends early.
func (o Options) fault(ctx context.Context, p drill.Plan, result *checker.Drill, kind checker.FaultKind, wrong ...string) error {
	if len(wrong) == 0 {
		return nil
	}
	for _, pool := range p.Pools() {
		if _, err := o.World.Space(ctx, pool); err != nil {
			return err
		}
	}
	for _, w := range wrong {
		result.Faults = append(result.Faults, checker.Fault{Kind: kind, Wrong: w})
	}
	return nil
}

// inspect reads the plan's part of each clone, and looks at the datasets of containers.
func (o Options) inspect(ctx context.Context, lock *os.File, p drill.Plan, result *checker.Drill) error {
	containers, systems, part := 0, 0, p.Part
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
		if c.Filesystem {
			containers++
		}
		if found.Wrong != "" {
			kind := checker.FaultRead
			if found.Unmounted { // and so it was not read
				kind, part = checker.FaultFiles, nil
			}
			if err := o.fault(ctx, p, result, kind, c.Snapshot+": "+found.Wrong); err != nil {
				return err
			}
			if found.Unmounted { // the fault needs these, also if the drill ends early
				result.FileSystems = containers
			} else {
				result.Part = p.Part
			}
		}
		if found.System != "" {
			result.Remarks = append(result.Remarks, found.System)
		}
		if found.IsSystem {
			systems++
		}
	}
	if containers > 0 && systems == 0 && result.Wrong(checker.FaultFiles) == nil {
		if err := o.fault(ctx, p, result, checker.FaultFiles, "no dataset of the container has the root directory of a system"); err != nil {
			return err
		}
	}
	if result.Wrong(checker.FaultRead) == nil {
		result.Part = part
	}
	result.FileSystems = containers
	if p.Part != nil && !result.Failed() {
		result.Reach = drill.Read
	}
	return nil
}

// boot starts the guest from its clones, if the plan says so.
func (o Options) boot(ctx context.Context, lock *os.File, p drill.Plan, result *checker.Drill) error {
	if p.Boot == nil {
		return nil
	}
	started, err := o.World.Boot(ctx, lock, p)
	switch {
	case ctx.Err() != nil && !errors.Is(err, command.ErrStillRunning):
		return context.Cause(ctx)
	case err != nil:
		return err
	case started.Booted:
		result.Reach = drill.Booted
		result.Remarks = append(result.Remarks, started.Said)
	case started.Tried:
		return o.fault(ctx, p, result, checker.FaultStart, "it did not start: "+started.Said)
	default:
		result.Remarks = append(result.Remarks, "not started: "+started.Said)
	}
	return nil
}
