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

// namesPerCall keeps an argv far below ARG_MAX.
const namesPerCall = 500

// Lookup reads just the named snapshots, by full name. A snapshot that is gone
// meanwhile is left out. An error of which [Complained] is true, or [Faults], comes with
// what could be read.
func (r Reader) Lookup(ctx context.Context, fullNames []string) ([]Snapshot, error) {
	return r.named(ctx, "snapshot", "@", fullNames)
}

// LookupBookmarks is [Reader.Lookup] for bookmarks, whose full names have a #.
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

// Snapshots reads every snapshot of the datasets and calls each with them. Those of which
// something could not be read are left out; the error is [Faults] then. It costs time with
// every snapshot there is.
func (r Reader) Snapshots(ctx context.Context, datasets []string, each func(Snapshot) error) error {
	return r.all(ctx, "snapshot", "@", datasets, each)
}

// Bookmarks reads every bookmark of the datasets, as [Reader.Snapshots] does snapshots.
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

// list adds to faults what could not be read of a snapshot. Its error is that of all.
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

// OnlyMissing reports whether every line zfs complained with says that a dataset or
// snapshot does not exist. A line that is not understood counts as trouble.
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

// missing reads one complaint. Of a bookmark zfs has other words than of the rest, which
// it else uses of a pool that is gone.
func missing(complaint string) bool {
	what, isBookmark := strings.CutSuffix(complaint, ": no such pool or dataset")
	return strings.HasSuffix(complaint, "does not exist") || isBookmark && strings.Contains(what, "#")
}

// printed reports whether zfs may print this as a snapshot's name. What others call their
// snapshots is only looked at here, so anything but bytes that no name has is good.
func printed(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			return false
		}
	}
	return name != ""
}

// parseSnapshot reads a row. With an error the snapshot has its name where that could be
// read: then nothing but the snapshot is at fault.
func parseSnapshot(line, mark string) (Snapshot, error) {
	f := strings.Split(line, "\t")
	if len(f) != 4 {
		return Snapshot{}, unreadable("unexpected line %q: %d columns instead of 4", clip(line), len(f))
	}
	dataset, name, ok := strings.Cut(f[0], mark)
	if !ok || !ValidDataset(dataset) || !printed(name) {
		return Snapshot{}, unreadable("unexpected line %q: %q is no name with %s", clip(line), clip(f[0]), mark)
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

// WrittenSince reads how many bytes were written to a dataset since one of its
// snapshots. It costs the same however many snapshots are newer.
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

// Pin is what keeps a snapshot from being destroyed; the zero value is nothing.
type Pin struct {
	// Held is true where it has a hold (zfs-hold(8)).
	Held bool
	// Clones are the datasets that were cloned from it.
	Clones []string
	// Gone is true where there is no such snapshot any more: nothing can be concluded from it.
	Gone bool
}

// Free reports whether nothing keeps the snapshot.
func (p Pin) Free() bool { return !p.Held && len(p.Clones) == 0 && !p.Gone }

// Pinned returns what keeps the named snapshots, by full name, from being destroyed. A send
// that is under way does so, too, and no property tells.
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
				return unreadable("unexpected line %q: no snapshot that was asked for, with its holds and clones", clip(line))
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
