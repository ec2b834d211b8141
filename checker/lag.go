package checker

import (
	"fmt"
	"time"

	"snapwatch/internal/text"
)

// outdated reports whether the replica has another newest snapshot by now than the node was
// asked about: then it did not say whether it has this one.
func (e Evidence) outdated(d Disk) bool { return e.About != 0 && e.About != d.Newest.GUID }

// lag is how long the replica has been behind. The difference of the newest creations
// counts the time in which a guest was off, and there was nothing to send; so it stands
// only where the owner does not know better.
func (e Evidence) lag(d Disk) (lag time.Duration, words string) {
	if e.BehindSince.IsZero() {
		lag = max(0, e.Newest.Creation.Sub(d.Newest.Creation))
		return lag, fmt.Sprintf("%s behind %s of %s", text.Age(lag), e.Newest.Name, e.Node)
	}
	lag = max(0, e.Now.Sub(e.BehindSince))
	return lag, fmt.Sprintf("behind %s of %s for %s", e.Newest.Name, e.Node, text.Age(lag))
}

// startedAgain judges a disk whose newest snapshot, here and at the owner, says that the
// guest is off, while its process lives there: since it was started a snapshot is due. A
// start that is not known is taken to be that of the snapshot.
func (e Evidence) startedAgain(d Disk, p Policy) Comparison {
	since := e.AliveSince
	if since.IsZero() || since.Before(d.Newest.Creation) {
		since = d.Newest.Creation
	}
	lag := max(0, e.Now.Sub(since))
	words := fmt.Sprintf("guest %d runs on %s for %s, and its newest snapshot there is %s, too", d.VMID, e.Node, text.Age(lag), d.Newest.Name)
	if e.Unregistered {
		words += ": nothing starts snap there"
	}
	return inSync(d, p, lag, words)
}

// inSync judges a lag by the disk's limits.
func inSync(d Disk, p Policy, lag time.Duration, text string) Comparison {
	level, limit := p.exceeded(&d, lag)
	if lag == 0 {
		level = Within // a range may alert at 0, but nothing is wrong with being equal
	}
	is := InSync
	if level > Within {
		is = Lagging
		text += fmt.Sprintf(" (%s)", limit)
	}
	return Comparison{Outcome: is, State: outcomes[is].States[level], Lag: lag, Limit: limit, Reason: text}
}
