package doctor

import "fmt"

// Status is the importance of a finding of doctor. The worst status decides the exit status of
// doctor.
type Status int

// The statuses of doctor's findings, from good to bad.
const (
	// OK means that the examined part of the host is in order.
	OK Status = iota
	// Warn means that the examined part of the host works, but that a person should look at it.
	Warn
	// Fail means that the examined part of the host does not work.
	Fail
)

var statusNames = [...]string{OK: "ok", Warn: "warning", Fail: "FAILED"}

func (s Status) String() string { return statusNames[s] }

// Finding is a result of doctor about one part of the host, such as a pool or the clock.
type Finding struct {
	Status Status
	// Topic names the examined part of the host in one or two words. Text is the result. The field
	// Do is the advice to the user.
	Topic, Text, Do string
}

// Judge returns all findings about a host. The findings about the most basic parts of the host come
// first.
func Judge(f Facts) []Finding {
	var all []Finding
	for _, look := range []func(Facts) []Finding{
		configuration, node, files, pvesh, storages, software, pools, damage,
		systemd, starts, lastRun, clock, others, locks, labels, limits,
	} {
		all = append(all, look(f)...)
	}
	return all
}

// Worst returns the worst status of doctor's findings.
func Worst(findings []Finding) Status {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Status)
	}
	return worst
}

// primary reports whether this host is a Proxmox node on which snap should take snapshots.
func (f Facts) primary() bool { return f.Node.PVE && f.Role != "replica" }

func ok(topic, format string, args ...any) []Finding {
	return []Finding{{OK, topic, fmt.Sprintf(format, args...), ""}}
}

func warn(topic, do, format string, args ...any) []Finding {
	return []Finding{{Warn, topic, fmt.Sprintf(format, args...), do}}
}

func fail(topic, do, format string, args ...any) []Finding {
	return []Finding{{Fail, topic, fmt.Sprintf(format, args...), do}}
}
