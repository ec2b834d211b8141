package zfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/internal/command"
)

// One command line of zfs has at most namesPerCall names, so that the length of the command line is
// far below the system's ARG_MAX.
const namesPerCall = 500

// Lookup reads the snapshots with the given full names, and no others. Lookup leaves out a snapshot
// that no longer exists. If [Complained] returns true for the error, or the error is [Faults],
// Lookup returns all readable snapshots in addition to the error.
func (r Reader) Lookup(ctx context.Context, fullNames []string) ([]Snapshot, error) {
	return r.named(ctx, "snapshot", "@", fullNames)
}

// LookupBookmarks reads the bookmarks with the given full names, such as tank/disk#name, with the
// errors of [Reader.Lookup].
func (r Reader) LookupBookmarks(ctx context.Context, fullNames []string) ([]Snapshot, error) {
	return r.named(ctx, "bookmark", "#", fullNames)
}

func (r Reader) named(ctx context.Context, kind, mark string, fullNames []string) ([]Snapshot, error) {
	var found []Snapshot
	var complaint error
	faults := Faults{}
	for chunk := range slices.Chunk(fullNames, namesPerCall) {
		argv := append([]string{"zfs", "list", "-Hp", "-t", kind, "-o", "name,guid,createtxg,creation"}, chunk...)
		err := r.list(ctx, argv, mark, faults, func(s Snapshot) error {
			found = append(found, s)
			return nil
		})
		switch {
		case err == nil, OnlyMissing(err):
		case Complained(err):
			complaint = cmp.Or(complaint, err)
		default:
			return found, err
		}
	}
	return found, cmp.Or(complaint, faults.orNil())
}

// Snapshots reads every snapshot of the datasets, and passes each snapshot to the function `each`.
// Snapshots leaves out unreadable snapshots, and the error is then [Faults]. The more snapshots the
// datasets have, the longer Snapshots takes.
func (r Reader) Snapshots(ctx context.Context, datasets []string, each func(Snapshot) error) error {
	return r.all(ctx, "snapshot", "@", datasets, each)
}

// Bookmarks reads every bookmark of the datasets, and passes each bookmark to the function `each`.
// The errors are those of [Reader.Snapshots].
func (r Reader) Bookmarks(ctx context.Context, datasets []string, each func(Snapshot) error) error {
	return r.all(ctx, "bookmark", "#", datasets, each)
}

func (r Reader) all(ctx context.Context, kind, mark string, datasets []string, each func(Snapshot) error) error {
	faults := Faults{}
	for chunk := range slices.Chunk(datasets, namesPerCall) {
		argv := []string{"zfs", "list", "-Hp", "-d", "1", "-t", kind, "-o", "name,guid,createtxg,creation", "-s", "createtxg"}
		if err := r.list(ctx, append(argv, chunk...), mark, faults, each); err != nil {
			return err
		}
	}
	return faults.orNil()
}

// list lists snapshots or bookmarks. For an unreadable snapshot or bookmark, list adds the reason
// to faults and returns no error. list returns an error if the whole list failed.
func (r Reader) list(ctx context.Context, argv []string, mark string, faults Faults, each func(Snapshot) error) error {
	return r.lines(ctx, argv, func(line string) error {
		s, err := parseSnapshot(line, mark)
		if err != nil && s.Name != "" {
			faults.add(s.Dataset, fmt.Errorf("%s%s: %w", mark, s.Name, err))
			return nil
		}
		if err != nil {
			return err
		}
		return each(s)
	})
}

// OnlyMissing reports whether every line of zfs's error message says that a dataset or snapshot
// does not exist. For a message with an unknown line, OnlyMissing returns false.
func OnlyMissing(err error) bool {
	failed, ok := errors.AsType[*command.Error](err)
	if !ok || command.ExitCode(err) != 1 {
		return false
	}
	for line := range strings.Lines(failed.Stderr) {
		if !missing(strings.TrimSpace(line)) {
			return false
		}
	}
	return failed.Stderr != ""
}

// Unreadable reports whether zfs's error message says that the snapshot itself cannot be read, because
// its blocks are lost or damaged. For all other messages, Unreadable returns false.
func Unreadable(err error, snapshot string) bool {
	failed, ok := errors.AsType[*command.Error](err)
	if !ok {
		return false
	}
	said, ok := strings.CutPrefix(strings.TrimSpace(failed.Stderr), "cannot open '"+snapshot+"': ")
	return ok && (strings.EqualFold(said, "I/O error") || strings.EqualFold(said, "Invalid exchange")) // a failed checksum is EBADE
}

// missing reports whether a line of zfs's error message says that a dataset, snapshot or bookmark
// does not exist. For a missing bookmark, zfs prints the same words as for a missing pool.
func missing(complaint string) bool {
	what, isBookmark := strings.CutSuffix(complaint, ": no such pool or dataset")
	return strings.HasSuffix(complaint, "does not exist") || isBookmark && strings.Contains(what, "#")
}

// printed reports whether name consists of characters that zfs may print in a snapshot's name.
// printed may accept too many names, because snapwatch only reads foreign snapshots, and never
// changes them.
func printed(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			return false
		}
	}
	return name != ""
}

// parseSnapshot parses one row of zfs's list of snapshots or bookmarks. If parseSnapshot returns
// both an error and the snapshot's name, this one snapshot is unreadable, and the rest of the list
// is readable.
func parseSnapshot(line, mark string) (Snapshot, error) {
	f := strings.Split(line, "\t")
	if len(f) != 4 {
		return Snapshot{}, unreadable("unexpected line %q: %d columns instead of 4", clip(line), len(f))
	}
	dataset, name, ok := strings.Cut(f[0], mark)
	if !ok || !ValidDataset(dataset) || !printed(name) {
		return Snapshot{}, unreadable("unexpected line %q: %q is not a name with %s", clip(line), clip(f[0]), mark)
	}
	guid, guidErr := strconv.ParseUint(f[1], 10, 64)
	txg, txgErr := strconv.ParseUint(f[2], 10, 64)
	creation, timeErr := parseTime(f[3])
	s := Snapshot{Dataset: dataset, Name: name, GUID: guid, CreateTXG: txg, Creation: creation}
	for _, fault := range []struct {
		property string
		err      error
	}{{"guid", guidErr}, {"createtxg", txgErr}, {"creation", timeErr}} {
		if fault.err != nil {
			return s, fmt.Errorf("%s: %w", fault.property, fault.err)
		}
	}
	return s, nil
}

// WrittenSince returns the number of bytes written to a dataset since one of its snapshots. The
// number of newer snapshots does not change the time that WrittenSince takes.
func (r Reader) WrittenSince(ctx context.Context, s Snapshot) (uint64, error) {
	argv := []string{"zfs", "get", "-Hp", "-o", "value", "written@" + s.Name, s.Dataset}
	text, err := command.Output(ctx, command.Cmd{Argv: argv, Inherit: r.Inherit})
	if err != nil {
		return 0, err
	}
	written, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("written@%s of %s: %w", s.Name, s.Dataset, err)
	}
	return written, nil
}

// Pin lists the reasons why zfs refuses to destroy a snapshot. The zero Pin means that zfs would
// destroy the snapshot.
type Pin struct {
	// Held is true if the snapshot has a hold (zfs-hold(8)).
	Held bool
	// Clones has the datasets that were cloned from the snapshot.
	Clones []string
	// Gone is true if the snapshot does not exist. If Gone is true, Held and Clones have no
	// meaning.
	Gone bool
}

// Free reports whether the snapshot exists and has neither a hold nor a clone.
func (p Pin) Free() bool { return !p.Held && len(p.Clones) == 0 && !p.Gone }

// Pinned returns, by full name, the reasons why zfs refuses to destroy each of the named snapshots.
// A running send also prevents destruction, but no property shows a running send.
func (r Reader) Pinned(ctx context.Context, fullNames []string) (map[string]Pin, error) {
	pins := map[string]Pin{}
	for _, name := range fullNames {
		pins[name] = Pin{Gone: true}
	}
	for chunk := range slices.Chunk(fullNames, namesPerCall) {
		argv := append([]string{"zfs", "list", "-Hp", "-t", "snapshot", "-o", "name,userrefs,clones"}, chunk...)
		err := r.lines(ctx, argv, func(line string) error {
			f := strings.Split(line, "\t")
			if len(f) != 3 || pins[f[0]].Free() {
				return unreadable("unexpected line %q: not one of the requested snapshots with its holds and clones", clip(line))
			}
			pin := Pin{Held: f[1] != "0"}
			if f[2] != "" && f[2] != "-" {
				pin.Clones = strings.Split(f[2], ",")
			}
			pins[f[0]] = pin
			return nil
		})
		if err != nil && !OnlyMissing(err) {
			return pins, err
		}
	}
	return pins, nil
}
