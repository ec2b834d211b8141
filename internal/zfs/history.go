package zfs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SetBack is the return of a dataset to an earlier snapshot, by zfs rollback or by zfs receive. zfs
// receive returns the dataset to the snapshot from which the stream starts. The snapshots and
// bookmarks that the dataset got between Base and TXG belong to discarded history.
type SetBack struct {
	// Dataset is the dataset's name at the end of the pool's history.
	Dataset string
	// Base is the transaction group of the snapshot that the dataset returned to. TXG is the
	// transaction group in which the set-back happened.
	Base, TXG uint64
}

// Over reports whether the transaction group txg is in the history that the set-back s discarded.
func (s SetBack) Over(txg uint64) bool { return s.Base < txg && txg < s.TXG }

// Received is a snapshot that a dataset received, and the transaction group in which the dataset
// received the snapshot.
type Received struct {
	Dataset, Name string
	TXG           uint64
}

// History has the events in a pool's own history (zpool-history(8)) that concern the given
// bookmarks.
type History struct {
	// Since is the transaction group from which on the pool's history is complete. ZFS may have
	// overwritten the records of earlier transaction groups.
	Since uint64
	// SetBacks has, in the order of time, each set-back that discarded one of the given bookmarks, or
	// that happened in the transaction group of one of the given bookmarks.
	SetBacks []SetBack
	// Received has each received snapshot that has the name of one of the given bookmarks.
	Received []Received
	// Breaks has, by dataset, the last event of the kind [Break].
	Breaks map[string]Break
}

// Break is an event after which it is unknown whether the dataset's older bookmarks belong to a
// discarded history.
type Break struct {
	TXG uint64
	Why string
}

// errHistory is in the error's chain if the text of a pool's history has an unexpected form.
var errHistory = errors.New("the pool's history is not as expected")

// History reads a pool's history (zpool-history(8), -i) for events that concern the given
// bookmarks. The history is read as a stream, so History needs memory for its result only. Only
// root may read a pool's history. The events that History counts as set-backs were seen on OpenZFS
// 2.1 and 2.3 (docs/replication.md).
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
				return fmt.Errorf("%w: the history begins with %q", errHistory, clip(line))
			}
			return nil
		}
		p.line(line)
		return nil
	})
	if err != nil {
		return History{}, err
	}
	p.endGroup(p.txg + 1)
	if p.history.Since == 0 {
		return History{}, fmt.Errorf("%w: the history has no events", errHistory)
	}
	return p.history, nil
}

// historyParser parses the output of zpool history line by line, the oldest line first.
type historyParser struct {
	pool      string
	bookmarks []Snapshot
	names     map[string]bool // the names of the given bookmarks
	history   History
	// command is true after the parser has read the first command in the history, zpool create. txg
	// is the transaction group of the last event.
	command bool
	txg     uint64
	// swaps has, by the name and object number of a clone, the dataset that exchanged its contents
	// with the clone in the current transaction group. zfs receive -F exchanges contents in this
	// way.
	swaps map[string]string
}

// historyTime is the time format at the beginning of each record of zpool history.
const historyTime = "2006-01-02.15:04:05 "

// line parses one line of a pool's history. The parser ignores all lines that do not look like an
// event, because commands and ioctls have no transaction group, and the lines after a command or
// ioctl may have any text.
//
// ZFS keeps the records up to the first command, zpool create, for ever, and overwrites later
// records (seen on OpenZFS 2.1 and 2.3). The complete part of a history is the part without
// overwritten records. The complete part begins only after zpool create.
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
		// In a pool's history, events are in the order of their transaction groups. If an event is
		// out of order, this event or an earlier one is in truth a property value with line breaks
		// that looks like an event. All records that were read so far are dropped, because each of them
		// may be false.
		p.forget(p.txg)
		return
	}
	if p.history.Since == 0 {
		p.history.Since = txg
	}
	if txg != p.txg {
		p.endGroup(txg)
	}
	if at := strings.LastIndex(event, " [on "); at >= 0 && strings.HasSuffix(event, "]") {
		event = event[:at] // OpenZFS 2.3 and later add " [on HOST]"
	}
	p.event(strings.TrimRight(event, " "))
}

// forget drops all events that were read from the pool's history so far. From then on, the history
// counts as complete from the transaction group `since`.
func (p *historyParser) forget(since uint64) {
	p.history = History{Since: since, Breaks: map[string]Break{}}
	clear(p.swaps)
}

// endGroup ends the transaction group that the parser is reading. If a dataset exchanged its
// contents with a clone in this transaction group, and the history names no base snapshot of the
// exchange, endGroup records a [Break] of the dataset: an exchange without a base snapshot does not
// prove a set-back.
func (p *historyParser) endGroup(txg uint64) {
	for _, dataset := range p.swaps {
		p.history.Breaks[dataset] = Break{p.txg, "its contents were exchanged, and the history does not name the newest snapshot that the old and the new contents share"}
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
		p.history.Breaks[dataset] = Break{p.txg, "it was promoted, and a promoted clone takes over the bookmarks of its origin"}
	}
}

// setBack records a set-back if it concerns one of the given bookmarks.
func (p *historyParser) setBack(s SetBack) {
	for _, b := range p.bookmarks {
		if s.Over(b.CreateTXG) || s.TXG == b.CreateTXG {
			p.history.SetBacks = append(p.history.SetBacks, s)
			return
		}
	}
}

// rename moves the recorded events of a dataset, and of all datasets below it, to the new name. If
// events are already recorded under the new name, rename drops these events, because they belong to
// an earlier dataset of this name, which was destroyed.
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

// In a set-back, a clone may replace the contents of a dataset. setBackBy returns the dataset whose
// contents the given clone replaces.
func (p *historyParser) setBackBy(clone string) (dataset string, ok bool) {
	name := p.dataset(clone)
	for _, suffix := range []string{"/%recv", "/%rollback"} {
		if dataset, ok = strings.CutSuffix(name, suffix); ok {
			return dataset, true
		}
	}
	return "", false
}

// dataset returns the dataset's name in an event's text, without the object number after the name.
// dataset replaces the pool's name in this name by the present name of the pool, because zpool
// import can rename a pool.
func (p *historyParser) dataset(text string) string {
	name, _, _ := strings.Cut(text, " (")
	return p.pool + name[len(Pool(name)):]
}
