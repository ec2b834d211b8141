package zfs

import (
	"context"
	"slices"
	"strings"
)

// ReceivedLabels are the values of the labels that came to a dataset with a stream,
// masked ones, too; "" where none did.
type ReceivedLabels struct{ Running, NoSnap string }

// Received reads the received labels of the datasets. It costs as much as reading all
// their other properties, for each label once more. A dataset that is gone meanwhile is
// left out.
func (r Reader) Received(ctx context.Context, datasets []string) (map[string]ReceivedLabels, error) {
	all := map[string]ReceivedLabels{}
	for chunk := range slices.Chunk(datasets, namesPerCall) {
		argv := []string{"zfs", "get", "-Hp", "-o", "name,property,received", LabelRunning + "," + LabelNoSnap}
		p := receivedParser{asked: chunk, all: all}
		if err := r.lines(ctx, append(argv, chunk...), p.line); err != nil && !OnlyMissing(err) {
			return all, err
		}
		if p.running != nil {
			return all, unreadable("the output of zfs get ends in the middle of %s", p.dataset)
		}
	}
	return all, nil
}

// receivedParser takes two rows a dataset, in the order in which they were asked for:
// the values are free text, which a received stream may have chosen.
type receivedParser struct {
	asked   []string
	all     map[string]ReceivedLabels
	dataset string
	running *string
}

func (p *receivedParser) line(line string) error {
	f := strings.Split(line, "\t")
	if len(f) != 3 {
		return unreadable("unexpected line %q: %d columns instead of 3", clip(line), len(f))
	}
	value := unset(f[2])
	_, known := p.all[f[0]]
	switch {
	case p.running == nil && f[1] == LabelRunning && !known && slices.Contains(p.asked, f[0]):
		p.dataset, p.running = f[0], &value
	case p.running != nil && f[1] == LabelNoSnap && f[0] == p.dataset:
		p.all[p.dataset], p.running = ReceivedLabels{*p.running, value}, nil
	default:
		return unreadable("unexpected line %q: not the received label that was asked for", clip(line))
	}
	return nil
}
