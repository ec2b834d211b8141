package zfs

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// SnapshotName has the name, guid and transaction group of a snapshot, but not its creation time.
// Reading the creation time would be slow, because zfs would have to open the snapshot.
type SnapshotName struct {
	Dataset   string
	Name      string
	GUID      uint64
	CreateTXG uint64
}

// Class returns the snapshot's class, or false if the snapshot is not managed.
func (s SnapshotName) Class() (Class, bool) { return ParseSnapshotName(s.Name) }

// SnapshotNames reads the name, guid and txg of every snapshot of the datasets. SnapshotNames calls
// the function `each` for every snapshot, in no particular order. The time that SnapshotNames takes
// grows with the number of snapshots, and is about half the time of [Reader.Snapshots].
func (r Reader) SnapshotNames(ctx context.Context, datasets []string, each func(SnapshotName) error) error {
	for chunk := range slices.Chunk(datasets, namesPerCall) {
		argv := []string{"zfs", "list", "-Hp", "-d", "1", "-t", "snapshot", "-o", "name,guid,createtxg"}
		var p nameParser
		err := r.lines(ctx, append(argv, chunk...), func(line string) error {
			s, err := p.parse(line)
			if err != nil {
				return err
			}
			return each(s)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nameParser parses the lines of a list of snapshots. nameParser checks the name of a dataset once,
// and not for each snapshot of the dataset.
type nameParser struct{ dataset string }

func (p *nameParser) parse(line string) (SnapshotName, error) {
	full, rest, _ := strings.Cut(line, "\t")
	guidText, txgText, ok := strings.Cut(rest, "\t")
	if !ok || strings.Contains(txgText, "\t") {
		return SnapshotName{}, unreadable("unexpected line %q: %d columns instead of 3", clip(line), strings.Count(line, "\t")+1)
	}
	dataset, name, ok := strings.Cut(full, "@")
	if !ok || !printed(name) || dataset != p.dataset && !ValidDataset(dataset) {
		return SnapshotName{}, unreadable("unexpected line %q: %q is not a name with @", clip(line), clip(full))
	}
	p.dataset = dataset
	guid, guidErr := strconv.ParseUint(guidText, 10, 64)
	txg, txgErr := strconv.ParseUint(txgText, 10, 64)
	for _, err := range []error{guidErr, txgErr} {
		if err != nil {
			return SnapshotName{}, unreadable("unexpected line %q: %w", clip(line), err)
		}
	}
	return SnapshotName{Dataset: dataset, Name: name, GUID: guid, CreateTXG: txg}, nil
}
