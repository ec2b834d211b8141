// Package lua holds the channel programs (zfs-program(8)) and the typed calls that
// run them. They are the only writers to a pool but for two things a program cannot
// do: giving a received property back, and destroying a bookmark.
//
// A program is not a transaction: it is atomic on disk, all its changes carry one
// txg, but what fails in it fails alone and what was done stays. So every change
// returns its own errno, and no deadline ever ends a program.
package lua

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/zfs"
)

//go:embed snapshot.lua
var snapshotProgram string

//go:embed destroy.lua
var destroyProgram string

// Program runs channel programs on one pool.
type Program struct {
	Pool string
	// Inherit are files the zfs process keeps open: the pool's lock, so that a
	// program that is still running keeps the pool locked.
	Inherit []*os.File
}

// Guest is what is to be done to the disks of one guest, all or nothing.
type Guest struct {
	// Snapshot is the part after the @ of the snapshots to take.
	Snapshot string
	// RefuseReceiving refuses disks that are being received.
	RefuseReceiving bool
	Disks           []Disk
}

// Disk is what is to be done to one disk of a guest.
type Disk struct {
	Dataset string
	// Snapshot and Bookmark say whether to take the snapshot and to bookmark it.
	Snapshot, Bookmark bool
	// Label is the new value of label:running, "" to leave it.
	Label string
	// Config is kept with its snapshot, as the property [zfs.GuestConfig]; "" is nothing.
	Config string
	// TrackChanges asks what the snapshot is, and when their list changed. Only where ZFS tells
	// that (2.2 and later): elsewhere the question ends the program.
	TrackChanges bool
}

// ListChange is when a dataset's list of snapshots last changed, in seconds of the
// host's clock, before and after what the program did to it; 0 where it was not
// asked for.
type ListChange struct {
	Before int64 `json:"was"`
	After  int64 `json:"changed"`
}

// Bookmark is an existing snapshot to be bookmarked.
type Bookmark struct{ Dataset, Name string }

// Outcome is what became of one disk. A nil entry was not tried.
type Outcome struct {
	Snapshot *syscall.Errno `json:"snapshot"`
	Undone   *syscall.Errno `json:"undone"`
	Label    *syscall.Errno `json:"label"`
	Bookmark *syscall.Errno `json:"bookmark"`
	Config   *syscall.Errno `json:"config"`
	// Bookmarks holds an errno by name of the snapshots that were to be bookmarked.
	Bookmarks map[string]syscall.Errno `json:"marks"`
	// GUID, CreateTXG and Creation, in seconds of the host's clock, are those of the
	// snapshot, 0 where they were not asked for. Lua knows signed numbers only.
	GUID      int64 `json:"guid"`
	CreateTXG int64 `json:"createtxg"`
	Creation  int64 `json:"creation"`
	ListChange
}

// Snapshot takes the snapshots, sets the labels and makes the bookmarks in one
// transaction group. The outcomes are by dataset. An error means that it is not
// known what was done: read the pool again.
func (p Program) Snapshot(timeout context.Context, guests []Guest, marks []Bookmark) (map[string]Outcome, error) {
	var words []string
	config := ""
	for _, g := range guests {
		guard := "-"
		if g.RefuseReceiving {
			guard = "guard"
		}
		words = append(words, "guest", g.Snapshot, guard)
		for _, d := range g.Disks {
			if err := p.check(d.Dataset, g.Snapshot); err != nil {
				return nil, err
			}
			if d.Config != "" && d.Config != config {
				config = d.Config
				words = append(words, "config", config)
			}
			words = append(words, "disk", d.Dataset, d.work(), "="+d.Label)
		}
	}
	for _, m := range marks {
		if err := p.check(m.Dataset, m.Name); err != nil {
			return nil, err
		}
		words = append(words, "mark", m.Dataset, m.Name)
	}
	outcomes := map[string]Outcome{}
	return outcomes, p.run(timeout, snapshotProgram, words, &outcomes)
}

// Made is the snapshot that the program took, false where it did not tell.
func (o Outcome) Made(dataset, name string) (zfs.Snapshot, bool) {
	return zfs.Snapshot{
		Dataset: dataset, Name: name, GUID: uint64(o.GUID), CreateTXG: uint64(o.CreateTXG), Creation: time.Unix(o.Creation, 0),
	}, o.GUID != 0 && o.CreateTXG > 0 && o.Creation > 0
}

func (d Disk) work() string {
	work := "-"
	if d.Snapshot {
		work = "s"
	}
	if d.Bookmark {
		work += "b"
	}
	if d.Config != "" {
		work += "c"
	}
	if d.TrackChanges {
		work += "w"
	}
	return work
}

// DestroyRequest are the snapshots of one disk to destroy, and those whose existence makes
// them superfluous.
type DestroyRequest struct {
	Dataset string
	Destroy []string
	Keepers []string
	// Watch asks when the list of its snapshots changed, as in [Disk].
	Watch bool
	// Check only looks whether they could be destroyed: their errnos are then those that
	// destroying would have.
	Check bool
}

// Destroyed is what became of one disk's doomed snapshots.
type Destroyed struct {
	// Gone holds an errno by name, 0 for a snapshot that is gone.
	Gone map[string]syscall.Errno `json:"gone"`
	// Missing is a keeper that does not exist: nothing was destroyed.
	Missing string `json:"missing"`
	// Receiving is 1 while the dataset is being received: nothing was destroyed.
	Receiving int `json:"receiving"`
	ListChange
}

// Destroy destroys snapshots in one transaction group. The results are by dataset.
// An error means that it is not known what was done: read the pool again.
func (p Program) Destroy(timeout context.Context, disks []DestroyRequest) (map[string]Destroyed, error) {
	var words []string
	for _, d := range disks {
		words = append(words, d.word(), d.Dataset)
		for _, name := range d.Keepers {
			if err := p.check(d.Dataset, name); err != nil {
				return nil, err
			}
			words = append(words, "keeper", name)
		}
		for _, name := range d.Destroy {
			if err := p.check(d.Dataset, name); err != nil {
				return nil, err
			}
			// The last gate before what cannot be undone.
			if _, ok := zfs.ParseSnapshotName(name); !ok {
				return nil, fmt.Errorf("refusing to destroy %s@%s: not a managed name", d.Dataset, name)
			}
			if d.Check {
				words = append(words, "check", name)
			} else {
				words = append(words, "destroy", name)
			}
		}
	}
	results := map[string]Destroyed{}
	return results, p.run(timeout, destroyProgram, words, &results)
}

func (d DestroyRequest) word() string {
	if d.Watch {
		return "watched"
	}
	return "disk"
}

// check refuses a name before it reaches the kernel, which would take it.
func (p Program) check(dataset, name string) error {
	if !zfs.ValidSnapshot(dataset, name) {
		return fmt.Errorf("refusing %s@%s: not a valid name", dataset, name)
	}
	if zfs.Pool(dataset) != p.Pool {
		return fmt.Errorf("refusing %s@%s: not in pool %s", dataset, name, p.Pool)
	}
	return nil
}

func (p Program) run(timeout context.Context, program string, words []string, into any) error {
	argv := append([]string{"zfs", "program", "-j", p.Pool, "-"}, words...)
	text, err := command.RunUnkillable(timeout, command.Cmd{Argv: argv, Stdin: program, Inherit: p.Inherit})
	if err != nil {
		return err
	}
	var answer struct {
		Return json.RawMessage `json:"return"`
	}
	err = json.Unmarshal([]byte(text), &answer)
	if err == nil && (len(answer.Return) == 0 || string(answer.Return) == "null") {
		err = errors.New("no return in it")
	}
	if err == nil {
		err = json.Unmarshal(answer.Return, into)
	}
	if err != nil {
		return fmt.Errorf("%s: the answer is not the JSON expected: %w: %.200s", strings.Join(argv[:5], " "), err, text)
	}
	return nil
}
