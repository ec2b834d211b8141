package zfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ReceivedLabels has, for each label, the value that a dataset received with a stream, even if a
// local value hides the received one. A label without a received value is "".
type ReceivedLabels struct{ Running, NoSnap string }

// Received reads the received labels of the datasets. Reading one received property takes as long
// as reading all other properties of the datasets together. Received leaves out a dataset that no
// longer exists. Received also leaves out a dataset with unreadable labels, and the error is then
// [Faults].
func (r Reader) Received(ctx context.Context, datasets []string) (map[string]ReceivedLabels, error) {
	all, faults := map[string]ReceivedLabels{}, Faults{}
	for chunk := range slices.Chunk(datasets, namesPerCall) {
		if err := r.received(ctx, chunk, all, faults); err != nil {
			return all, err
		}
	}
	return all, faults.orNil()
}

// received reads the received labels of the datasets. If the output of zfs is malformed, received
// reads each half of the datasets again, by a call of its own.
func (r Reader) received(ctx context.Context, datasets []string, all map[string]ReceivedLabels, faults Faults) error {
	argv := []string{"zfs", "get", "-Hp", "-o", "name,property,received", strings.Join(labelProperties, ",")}
	p := receivedParser{asked: datasets, all: map[string]ReceivedLabels{}}
	err := r.lines(ctx, append(argv, datasets...), p.line)
	if err == nil || OnlyMissing(err) {
		if err = nil; p.at != 0 {
			err = unreadable("the output of zfs get ends in the middle of %s", p.dataset)
		}
	}
	switch half := len(datasets) / 2; {
	case !errors.Is(err, ErrOutput):
		maps.Copy(all, p.all)
		return err
	case half > 0:
		if err := r.received(ctx, datasets[:half], all, faults); err != nil {
			return err
		}
		return r.received(ctx, datasets[half:], all, faults)
	}
	faults.add(datasets[0], fmt.Errorf("its received labels could not be read: %w", err))
	return nil
}

// receivedParser parses the rows of zfs get for received labels, one dataset after the other, in
// the order of the requested properties. The last requested property is a native ZFS property, for
// the reason given at headProperties.
type receivedParser struct {
	asked   []string
	all     map[string]ReceivedLabels
	dataset string
	labels  ReceivedLabels
	at      int // the number of rows that were read of the dataset
}

func (p *receivedParser) line(line string) error {
	f := strings.Split(line, "\t")
	if len(f) != 3 {
		return unreadable("unexpected line %q: %d columns instead of 3", clip(line), len(f))
	}
	if _, known := p.all[f[0]]; p.at == 0 && !known && slices.Contains(p.asked, f[0]) {
		p.dataset, p.labels = f[0], ReceivedLabels{}
	}
	if f[0] != p.dataset || f[1] != labelProperties[p.at] {
		return unreadable("unexpected line %q: not the requested received label", clip(line))
	}
	switch f[1] {
	case LabelRunning:
		p.labels.Running = unset(f[2])
	case LabelNoSnap:
		p.labels.NoSnap = unset(f[2])
	}
	if p.at++; p.at == len(labelProperties) {
		p.all[p.dataset], p.at = p.labels, 0
		p.dataset = ""
	}
	return nil
}
