package checker

import (
	"fmt"
	"time"

	"snapwatch/internal/text"
)

// outdated reports whether the replica has received a newer snapshot since the node was asked. The
// node was asked about an older snapshot, so its answer does not say whether the node has the
// replica's newest snapshot.
func (e Evidence) outdated(d Disk) bool {
	return e.About != nil && d.Newest != nil && e.About.GUID != d.Newest.GUID
}

// lag returns the time for which the replica has been behind the owner, as a duration and as a text
// for people. If the owner does not know since when the replica has been behind, lag returns the
// difference between the newest snapshots of owner and replica. The returned difference includes
// the time for which the guest was off.
func (e Evidence) lag(d Disk) (lag time.Duration, words string) {
	if e.BehindSince.IsZero() {
		lag = max(0, e.Newest.Creation.Sub(d.Newest.Creation))
		return lag, fmt.Sprintf("%s behind %s of %s", text.Age(lag), e.Newest.Name, e.Node)
	}
	lag = max(0, e.Now.Sub(e.BehindSince))
	return lag, fmt.Sprintf("behind %s of %s for %s", e.Newest.Name, e.Node, text.Age(lag))
}

// startedAgain judges a disk whose newest snapshot, here and on the owner, is a _stopped one while
// the guest's process is running on the owner. The lag is the time since the start of the guest,
// because a snapshot has been due since this start. If the start of the guest's process is unknown,
// the creation of the _stopped snapshot counts as the start.
func (e Evidence) startedAgain(d Disk, p Policy) Comparison {
	since := e.AliveSince
	if since.IsZero() || since.Before(d.Newest.Creation) {
		since = d.Newest.Creation
	}
	lag := max(0, e.Now.Sub(since))
	words := fmt.Sprintf("guest %d runs on %s for %s, but its newest snapshot there is still %s", d.VMID, e.Node, text.Age(lag), d.Newest.Name)
	if e.Unregistered {
		words += ": nothing starts snap there"
	}
	return inSync(d, p, lag, words)
}

// inSync returns the outcome of comparing a lag with the disk's limits.
func inSync(d Disk, p Policy, lag time.Duration, text string) Comparison {
	level, limit := p.exceeded(&d, lag)
	if lag == 0 {
		level = Within // a range may alert at 0, but a lag of 0 is never a fault
	}
	is := InSync
	if level > Within {
		is = Lagging
		text += fmt.Sprintf(" (%s)", limit)
	}
	return Comparison{Outcome: is, State: outcomes[is].States[level], Lag: lag, Limit: limit, Reason: text}
}
