package snapper

import (
	"cmp"
	"fmt"
	"time"
)

// Shutdown is the proof that the host goes down and that nothing on it starts or stops
// guests any more. It stands in for the gate of an ordinary run, which is closed then:
// pve-guests.service, once it has stopped the guests, is inactive as it is before the
// guests start at boot. What tells the two apart is systemd's own state.
type Shutdown struct {
	// System is systemd's word for the whole machine, systemctl(1) is-system-running.
	System string
	// Guests and HA are the states of pve-guests.service and pve-ha-lrm.service,
	// which stop guests at shutdown and start them at boot.
	Guests, HA string
	// Err is why they could not be read.
	Err error
}

// closed returns why no stop is believed, "" if stops are.
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

// ShutdownPause is how long after the first look at the guests the second is taken
// while the host shuts down. A longer pause is for telling a stop from a restart, and
// what would restart a guest is gone by then.
const ShutdownPause = 2 * time.Second

// recent is how long ago a run must have been for this node to be one that snap works
// on. A label alone may be what another program left.
const recent = 24 * time.Hour

// Finalizes tells why there is nothing to do for [Finalize] on a host, "" if there is.
func (s Shutdown) Finalizes(lastRun, now time.Time) string {
	if why := s.closed(); why != "" {
		return why
	}
	if age := now.Sub(lastRun); age > recent || age < -recent {
		return "snap did not run here during the last day"
	}
	return ""
}

// ranHere are the disks whose label says that snap of this node has worked on them. There is
// no time to read a pool's history for them.
func ranHere(disks []Disk, names Names) []Disk {
	var own []Disk
	for _, d := range disks {
		if label := names.Classify(d.Running); label == OwnLabel || label == StoppedLabel {
			if d.History == nil {
				d.HistoryProblem = cmp.Or(d.HistoryProblem, "the host goes down")
			}
			own = append(own, d)
		}
	}
	return own
}
