package zfs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SetBack is the return of a dataset to an earlier snapshot. zfs rollback does it, and
// so does every zfs receive: it returns to the snapshot that the stream begins with.
// What the dataset got after Base and before TXG belongs to a history that it has no
// longer.
type SetBack struct {
	// Dataset is its name at the end of the history.
	Dataset string
	// Base is the transaction group of the snapshot that it returned to, TXG the one in
	// which it did.
	Base, TXG uint64
}

// Over reports whether what was made in the transaction group txg was discarded by it.
func (s SetBack) Over(txg uint64) bool { return s.Base < txg && txg < s.TXG }

// Received is a snapshot that a dataset received, and when.
type Received struct {
	Dataset, Name string
	TXG           uint64
}

// History is what a pool's own history tells of its datasets.
type History struct {
	// Since is the first transaction group after which no record is missing. ZFS writes
	// over the oldest ones.
	Since uint64
	// SetBacks are those over any of the bookmarks that were asked for, or in the same
	// transaction group, in order.
	SetBacks []SetBack
	// Received are snapshots of the names of these bookmarks.
	Received []Received
	// Breaks hold, by dataset, the last event through which its bookmarks cannot be
	// followed.
	Breaks map[string]Break
}

// Break is an event after which nothing is known of a dataset's bookmarks from before.
type Break struct {
	TXG uint64
	Why string
}

// errHistory is in the chain of errors for a history that is not what zpool prints.
var errHistory = errors.New("the pool's history is not as expected")

// History reads a pool's history (zpool-history(8), -i): what it tells of these bookmarks,
// how far back it reaches, and what it leaves unclear. It is read as a stream and takes as
// much memory as what it returns. Only root may do it. What it takes for a set-back was
// seen on OpenZFS 2.1 and 2.3: docs/replication.md.
func (r Reader) History(ctx context.Context, pool string, bookmarks []Snapshot) (History, error) {
	p := historyParser{pool: pool, bookmarks: bookmarks, names: map[string]bool{}, swaps: map[string]string{}}
	for _, b := range bookmarks {
		p.names[b.Name] = true
	}
	p.forget(0)
	first := true
	err := r.lines(ctx, []string{"zpool", "history", "-i", pool}, func(line string) error {
		if first {
			first = false
			if line != "History for '"+pool+"':" {
				return fmt.Errorf("%w: it begins with %q", errHistory, clip(line))
			}
			return nil
		}
		p.line(line)
		return nil
	})
	if err != nil {
		return History{}, err
	}
	p.next(p.txg + 1)
	if p.history.Since == 0 {
		return History{}, fmt.Errorf("%w: it has no events", errHistory)
	}
	return p.history, nil
}

// historyParser takes a history line by line, the oldest first.
type historyParser struct {
	pool      string
	bookmarks []Snapshot
	names     map[string]bool // theirs
	history   History
	// command is true after the first command, txg is that of the last event.
	command bool
	txg     uint64
	// swaps are the datasets that changed their contents in this transaction group, by
	// the name and number of the clone that they got them from.
	swaps map[string]string
}

// historyTime is how each record begins.
const historyTime = "2006-01-02.15:04:05 "

// line takes in a line. Commands and ioctls have no transaction group, and may print
// anything in the lines that follow: only what looks like an event is read.
//
// ZFS keeps the records up to the first command, zpool create, for ever, and writes over
// those that follow it (seen on OpenZFS 2.1 and 2.3): what is known begins behind it.
func (p *historyParser) line(line string) {
	if len(line) < len(historyTime) {
		return
	}
	if rest := line[len(historyTime):]; !p.command && (strings.HasPrefix(rest, "zpool ") || strings.HasPrefix(rest, "zfs ")) {
		p.command = true
		p.forget(0)
	}
	number, event, ok := strings.Cut(line[len(historyTime):], "] ")
	number, isEvent := strings.CutPrefix(number, "[txg:")
	if !ok || !isEvent || line[4] != '-' || line[10] != '.' || line[13] != ':' {
		return
	}
	txg, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return
	}
	if txg < p.txg {
		// Records are in order: one that is not, or the one before it, was made up by a
		// value with line ends in it. Nothing before now is believed.
		p.forget(p.txg)
		return
	}
	if p.history.Since == 0 {
		p.history.Since = txg
	}
	if txg != p.txg {
		p.next(txg)
	}
	if at := strings.LastIndex(event, " [on "); at >= 0 && strings.HasSuffix(event, "]") {
		event = event[:at] // since 2.3
	}
	p.event(strings.TrimRight(event, " "))
}

// forget drops all that was read: what is known begins with the transaction group since.
func (p *historyParser) forget(since uint64) {
	p.history = History{Since: since, Breaks: map[string]Break{}}
	clear(p.swaps)
}

// next ends a transaction group. A change of contents whose base was not told in it
// is no set-back that anything could be proved by.
func (p *historyParser) next(txg uint64) {
	for _, dataset := range p.swaps {
		p.history.Breaks[dataset] = Break{p.txg, "its contents were exchanged, and the history does not tell since when they differ"}
	}
	clear(p.swaps)
	p.txg = max(p.txg, txg)
}

func (p *historyParser) event(event string) {
	switch {
	case strings.HasPrefix(event, "clone swap "):
		clone, rest, _ := strings.Cut(event[len("clone swap "):], " parent=")
		if dataset, ok := p.setBackBy(clone); ok && rest == Base(dataset) {
			p.swaps[clone] = dataset
		}
	case strings.HasPrefix(event, "destroy "):
		clone, rest, _ := strings.Cut(event[len("destroy "):], " (bptree, mintxg=")
		dataset, swapped := p.swaps[clone]
		base, err := strconv.ParseUint(strings.TrimSuffix(rest, ")"), 10, 64)
		if swapped && err == nil {
			delete(p.swaps, clone)
			p.setBack(SetBack{dataset, base, p.txg})
		}
	case strings.HasPrefix(event, "finish receiving "):
		clone, name, _ := strings.Cut(event[len("finish receiving "):], " snap=")
		if dataset, ok := p.setBackBy(clone); ok && p.names[name] {
			p.history.Received = append(p.history.Received, Received{dataset, name, p.txg})
		}
	case strings.HasPrefix(event, "rename "):
		from, to, ok := strings.Cut(event[len("rename "):], " -> ")
		switch {
		case ok && strings.Contains(from, "@") && strings.HasPrefix(to, "@"): // of a snapshot
		case ok && strings.Contains(to, "/") && ValidDataset(to):
			p.rename(p.dataset(from), p.dataset(to))
		default:
			p.forget(p.txg)
		}
	case strings.HasPrefix(event, "promote "):
		dataset := p.dataset(event[len("promote "):])
		p.history.Breaks[dataset] = Break{p.txg, "it was promoted, and a clone that is promoted takes over the bookmarks of its origin"}
	}
}

// setBack keeps a set-back that was asked for.
func (p *historyParser) setBack(s SetBack) {
	for _, b := range p.bookmarks {
		if s.Over(b.CreateTXG) || s.TXG == b.CreateTXG {
			p.history.SetBacks = append(p.history.SetBacks, s)
			return
		}
	}
}

// rename gives what is known of a dataset and those below it to its new name. What was
// known of that name was of another dataset, which is gone.
func (p *historyParser) rename(from, to string) {
	kept := p.history.SetBacks[:0]
	for _, s := range p.history.SetBacks {
		if Within(s.Dataset, to) {
			continue
		}
		s.Dataset = renamed(s.Dataset, from, to)
		kept = append(kept, s)
	}
	p.history.SetBacks = kept
	received := p.history.Received[:0]
	for _, r := range p.history.Received {
		if !Within(r.Dataset, to) {
			r.Dataset = renamed(r.Dataset, from, to)
			received = append(received, r)
		}
	}
	p.history.Received = received
	breaks := map[string]Break{}
	for dataset, b := range p.history.Breaks {
		if !Within(dataset, to) {
			breaks[renamed(dataset, from, to)] = b
		}
	}
	p.history.Breaks = breaks
}

func renamed(dataset, from, to string) string {
	if Within(dataset, from) {
		return to + dataset[len(from):]
	}
	return dataset
}

// setBackBy returns the dataset whose contents a clone of this name and number replaces.
func (p *historyParser) setBackBy(clone string) (dataset string, ok bool) {
	name := p.dataset(clone)
	for _, suffix := range []string{"/%recv", "/%rollback"} {
		if dataset, ok = strings.CutSuffix(name, suffix); ok {
			return dataset, true
		}
	}
	return "", false
}

// dataset is the name in an event's text: without the object number behind it, and with
// the name that the pool has now (zpool import can give it another).
func (p *historyParser) dataset(text string) string {
	name, _, _ := strings.Cut(text, " (")
	return p.pool + name[len(Pool(name)):]
}
