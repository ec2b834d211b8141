package snapper

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Shutdown is the proof that the host shuts down, and that no program on the host starts or stops
// guests any more. While the host shuts down, Shutdown replaces the ordinary [Gate]. During
// shutdown, the ordinary Gate believes no guest's stop: pve-guests.service is inactive both after
// it has stopped the guests at shutdown and before it starts the guests at boot. systemd's own
// state is the only fact that distinguishes shutdown from boot.
type Shutdown struct {
	// System is the state of the whole machine, as printed by systemctl is-system-running.
	System string
	// Guests is the state of pve-guests.service, and HA the state of pve-ha-lrm.service.
	// pve-guests.service and pve-ha-lrm.service stop guests at shutdown and start them at boot.
	Guests, HA string
	// Err is the error of reading the states System, Guests and HA.
	Err error
}

// closed returns the reason why a guest's stop is not believed, "" if the stops of guests are
// believed.
func (s Shutdown) closed() string {
	switch {
	case s.Err != nil:
		return fmt.Sprintf("it is not known whether the host shuts down: %v", s.Err)
	case s.System != "stopping":
		return fmt.Sprintf("the host does not shut down (systemctl is-system-running: %s)", s.System)
	case s.Guests != "inactive" && s.Guests != "failed":
		return fmt.Sprintf("pve-guests.service is %s: guests may be starting or stopping", s.Guests)
	case s.HA != "inactive" && s.HA != "failed" && s.HA != "absent":
		return fmt.Sprintf("pve-ha-lrm.service is %s: guests may be starting or stopping", s.HA)
	}
	return ""
}

// ShutdownPause is the time between the first and the second look at the guests while the host
// shuts down. An ordinary run waits longer to distinguish a stop from a restart, but during
// shutdown every program that could restart a guest has ended.
const ShutdownPause = 2 * time.Second

// If the last run of snap was longer ago than the constant `recent` says, [Shutdown.Finalizes]
// treats this node as one on which snap does not work. A label on a disk does not prove that snap
// works on this node, because another program may have set the label.
const recent = 24 * time.Hour

// Finalizes returns the reason why the command finalize has nothing to do on this host, "" if
// finalize has work to do.
func (s Shutdown) Finalizes(lastRun, now time.Time) string {
	if why := s.closed(); why != "" {
		return why
	}
	if age := now.Sub(lastRun); age > recent || age < -recent {
		return "snap did not run here during the last day"
	}
	return ""
}

// ranHere returns the disks whose label shows that snap on this node has worked on them. During
// shutdown, time is short, so the pool's history is read only for disks that have a newer snapshot
// that may have been received. For a disk that has neither a history nor a snapshot of this kind,
// ranHere sets HistoryProblem, so that the plan does not ask for the history.
func ranHere(disks []Disk, names Names) []Disk {
	var own []Disk
	for _, d := range disks {
		if label := names.Classify(d.Running); label == OwnLabel || label == StoppedLabel {
			if d.History == nil && !slices.ContainsFunc(d.sinceOwn(), d.mayBeReceived) {
				d.HistoryProblem = cmp.Or(d.HistoryProblem, "the host is shutting down")
			}
			own = append(own, d)
		}
	}
	return own
}
