// Package lua contains the channel programs (zfs-program(8)) and the typed calls that run them.
// snapwatch changes a pool only by channel programs, with two exceptions: no channel program can
// restore a received property or destroy a bookmark.
//
// A channel program is atomic on disk: all its changes are in one transaction group. A channel
// program is not a database transaction: if one change fails, the earlier changes of the program
// remain, so a program returns an errno for each change, and no deadline ever ends a program.
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
	// Inherit has files that the zfs process keeps open, such as the pool's lock, so that the pool
	// remains locked while a channel program runs.
	Inherit []*os.File
}

// Guest is the work on the disks of one guest, which is done completely or not at all.
type Guest struct {
	// Snapshot is the name, after the @, of the snapshots to take.
	Snapshot string
	// RefuseReceiving makes the program fail for a disk that is being received.
	RefuseReceiving bool
	Disks           []Disk
}

// Disk says what the channel program does with one disk of a guest.
type Disk struct {
	Dataset string
	// Snapshot says whether to take the snapshot, and Bookmark whether to bookmark it.
	Snapshot, Bookmark bool
	// Label is the new value of label:running, or "" to leave the label as it is.
	Label string
	// Config is stored on the snapshot as the property [zfs.GuestConfig]; "" stores nothing.
	Config string
	// TrackChanges makes the program return the snapshot's guid, txg and creation, and the times in
	// [ListChange]. TrackChanges must be false if this ZFS does not know snapshots_changed (before
	// 2.2), because reading an unknown property ends the program.
	TrackChanges bool
}

// ListChange holds the times of the last change of a dataset's list of snapshots, before and after
// the program's work, in Unix seconds by the host's clock. A time is 0 if it was not requested.
type ListChange struct {
	Before int64 `json:"was"`
	After  int64 `json:"changed"`
}

// Bookmark asks for a bookmark of an existing snapshot, which Dataset and Name name.
type Bookmark struct{ Dataset, Name string }

// Outcome is the result for one disk. A nil errno means that the step was not tried.
type Outcome struct {
	Snapshot *syscall.Errno `json:"snapshot"`
	Undone   *syscall.Errno `json:"undone"`
	Label    *syscall.Errno `json:"label"`
	Bookmark *syscall.Errno `json:"bookmark"`
	Config   *syscall.Errno `json:"config"`
	// Bookmarks holds the errno of each requested bookmark of an existing snapshot, by name.
	Bookmarks map[string]syscall.Errno `json:"marks"`
	// GUID, CreateTXG and Creation (in Unix seconds by the clock of the host) are those of the
	// snapshot that the program took, zero if TrackChanges was false. These numbers are signed
	// because Lua has signed numbers only.
	GUID      int64 `json:"guid"`
	CreateTXG int64 `json:"createtxg"`
	Creation  int64 `json:"creation"`
	ListChange
}

// Snapshot takes the snapshots, sets the labels and makes the bookmarks in one transaction group.
// The outcomes are by dataset. After an error, the changes of the program are unknown: the caller
// must read the pool again.
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

// Made returns the snapshot that the channel program took, or false if the program did not return
// the snapshot's properties.
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

// DestroyRequest lists the snapshots of one disk to destroy, and the keepers, whose existence makes
// these snapshots superfluous.
type DestroyRequest struct {
	Dataset string
	Destroy []string
	Keepers []string
	// Watch makes the program return the times in [ListChange].
	Watch bool
	// Check only tests whether the snapshots could be destroyed. If Check is true, the returned
	// errnos are those that a destroy would return.
	Check bool
}

// Destroyed is the result of destroying snapshots of one disk.
type Destroyed struct {
	// Gone holds an errno by snapshot name, 0 for a destroyed snapshot.
	Gone map[string]syscall.Errno `json:"gone"`
	// Missing is the name of a keeper (see [DestroyRequest]) that does not exist. If a keeper is
	// missing, nothing was destroyed.
	Missing string `json:"missing"`
	// Receiving is 1 if the dataset is being received; then nothing was destroyed.
	Receiving int `json:"receiving"`
	ListChange
}

// Destroy destroys snapshots in one transaction group. The results are by dataset. After an error,
// the destroyed snapshots are unknown: the caller must read the pool again.
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
			// Check the name a last time, because the destroy cannot be undone.
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

// check returns an error for an invalid name. The kernel would accept an invalid name.
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
		err = errors.New("the answer has no return value")
	}
	if err == nil {
		err = json.Unmarshal(answer.Return, into)
	}
	if err != nil {
		return fmt.Errorf("%s: the answer is not the JSON expected: %w: %.200s", strings.Join(argv[:5], " "), err, text)
	}
	return nil
}
