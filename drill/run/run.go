package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/files"
	"snapwatch/internal/note"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Options has the World of a drill, and the directory of its notes.
type Options struct {
	World World
	// Notes is the directory with one note per guest. It must outlive a boot, as the clones do.
	Notes note.Dir
}

// The limits of a drill's steps. Only the look has no limit of its own, but that of the whole drill.
const (
	readTime   = time.Minute
	changeTime = time.Minute
	// tidyTime is the longest time for destroying the clones of a drill. A clone is busy until the
	// programs that looked at it have closed its device.
	tidyTime  = 2 * time.Minute
	watchTime = 10 * time.Second
	// watchEvery is the time between two looks for a receive, and between two attempts to destroy
	// clones.
	watchEvery = time.Second
	// orphanTime is the longest time that a later run waits for the commands that killed drills left,
	// and for the end of the programs that have their clones open.
	orphanTime = 15 * time.Second
)

// noted is the content of the note about a drill.
type noted struct {
	Pools []string `json:"pools"`
	// Process is the process of the drill.
	Process int `json:"process"`
}

// Plan returns the plan of a drill of the guest. It reads the facts that f lacks. A fact that cannot
// be read is a reason for refusal.
func Plan(ctx context.Context, o Options, g drill.Guest, f drill.Facts) drill.Plan {
	now := o.World.Now()
	p := drill.NewPlan(g, now)
	if len(p.Locked) > 0 {
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	doubt := func(err error) {
		if err != nil {
			f.Doubts = append(slices.Clip(f.Doubts), err.Error())
		}
	}
	f.Pools = map[string]drill.Pool{}
	for _, pool := range p.Pools() {
		space, err := o.World.Space(ctx, pool)
		if doubt(err); err != nil {
			return p.Refuse(f, now) // other commands on the pool may hang
		}
		f.Pools[pool] = space
	}
	var err error
	f.Snapshots, err = o.World.Snapshots(ctx, g.Datasets())
	doubt(err)
	f.Receiving, err = o.World.Receiving(ctx, nil, g.Datasets())
	doubt(err)
	if len(devices(p)) > 0 {
		doubt(o.World.CanLook())
	}
	return p.Refuse(f, now)
}

// devices returns the devices of the plan's volumes.
func devices(p drill.Plan) []string {
	var paths []string
	for _, c := range p.Clones {
		if !c.Filesystem {
			paths = append(paths, c.Device)
		}
	}
	return paths
}

// Drill carries out a plan without refusals, and saves its result. If proof is nil, the drill ended
// before it proved or disproved anything, and the error is the reason. If both are not nil, the
// error is about the end of the drill: a clone that is left, or a drill that ended early after it had
// found a fault.
func Drill(ctx context.Context, o Options, p drill.Plan) (proof *checker.Drill, err error) {
	begun := o.World.Now()
	result := checker.Drill{Point: p.Guest.Point, At: begun}
	if len(p.Locked) > 0 {
		result.Reach = drill.Nothing
		for _, root := range p.Locked {
			result.Remarks = append(result.Remarks, fmt.Sprintf("encrypted, not looked at: the key of %s is not loaded", root))
		}
		return &result, o.World.Record(ctx, p.Guest, result)
	}
	n, err := o.take(p.Guest.VMID)
	if err != nil {
		return nil, err
	}
	if err = o.begin(ctx, n, p); err == nil {
		err = o.prove(ctx, n.File(), p, &result)
	}
	result.Seconds = o.World.Now().Sub(begun).Seconds()
	for i := range result.Faults {
		result.Faults[i].Wrong = plain(result.Faults[i].Wrong)
	}
	for i, remark := range result.Remarks {
		result.Remarks[i] = plain(remark)
	}
	if errors.Is(err, command.ErrStillRunning) { // nothing else is started on a pool that hangs
		return nil, o.ended(n, p.Guest.VMID, err)
	}
	tidyErr := o.tidy(context.WithoutCancel(ctx), n, p.Guest.VMID, p.Pools())
	if err != nil && !result.Failed() {
		return nil, errors.Join(err, tidyErr)
	}
	return &result, errors.Join(err, tidyErr, o.World.Record(context.WithoutCancel(ctx), p.Guest, result))
}

// plain makes a text harmless that may have names and messages from the disks of a guest.
func plain(t string) string { return text.Clip(text.Plain(t), 400) }

// note takes the note of a guest. Only the notes are private, and not the directory that they are in.
func (o Options) note(vmid int) (*note.Note, error) {
	if err := files.Directory(filepath.Dir(string(o.Notes)), 0o755); err != nil {
		return nil, err
	}
	return o.Notes.Take(strconv.Itoa(vmid))
}

// take takes the note of a guest, which only one drill can have.
func (o Options) take(vmid int) (*note.Note, error) {
	n, err := o.note(vmid)
	if busy, is := errors.AsType[*note.Busy](err); is {
		return nil, fmt.Errorf("another drill of guest %d is at work, or a program of it hangs: %w", vmid, busy)
	}
	return n, err
}

// begin destroys the clones that an earlier drill of the guest left, writes the note, and makes the
// datasets above the clones. The note keeps the pools of the earlier drill, because one that is not
// imported may come back with clones.
func (o Options) begin(ctx context.Context, n *note.Note, p drill.Plan) error {
	if err := o.destroyLeft(ctx, n, p.Guest.VMID, p.Pools()); err != nil && !errors.Is(err, errAway) {
		return err
	}
	if err := errors.Join(n.Write(noted{withNoted(n, p.Pools()), os.Getpid()}), n.Sync()); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, pool := range p.Pools() {
		all, err := o.drilled(ctx, n.File(), pool)
		if err != nil {
			return err
		}
		for _, d := range all {
			there[d.Name] = true
		}
	}
	for _, parent := range p.Parents {
		if !there[parent] {
			if err := o.change(ctx, n.File(), drill.Create(parent)); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch returns a context that ends when a receive into one of the datasets has begun, or if that is
// unknown. stop ends the watch and returns when no program of it runs any more.
func (o Options) watch(ctx context.Context, lock *os.File, datasets []string) (watched context.Context, stop func()) {
	watched, end := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for watched.Err() == nil {
			limited, cancel := context.WithTimeout(watched, watchTime)
			receiving, err := o.World.Receiving(limited, lock, datasets)
			cancel()
			switch {
			case watched.Err() != nil:
			case err != nil:
				end(fmt.Errorf("it is unknown whether a receive has begun: %w", err))
			case len(receiving) > 0:
				end(fmt.Errorf("a receive into %s has begun", receiving[0]))
			}
			_ = wait(watched, watchEvery)
		}
	}()
	return watched, func() {
		end(nil)
		<-ended
	}
}

// wait returns after d, or with the error of ctx when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// change runs a command that changes a pool, unless ctx has ended, and waits for it for changeTime at
// most. If ctx ends meanwhile, change waits all the same: these commands are short, and a clone that
// is left behind half made would stay until a later run.
func (o Options) change(ctx context.Context, lock *os.File, argv []string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return o.changeWithin(context.WithoutCancel(ctx), lock, argv)
}

// changeWithin runs a command that changes a pool, and waits for it until ctx ends, for changeTime at
// most.
func (o Options) changeWithin(ctx context.Context, lock *os.File, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	return o.World.Change(ctx, lock, argv)
}

func (o Options) drilled(ctx context.Context, lock *os.File, pool string) ([]zfs.Drilled, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	return o.World.Drilled(ctx, lock, pool)
}
