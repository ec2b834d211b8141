package doctor

import "fmt"

// Status is the importance of a finding, which decides the exit status.
type Status int

// The statuses.
const (
	// OK means that the examined thing is in order.
	OK Status = iota
	// Warn means that the examined thing works, but that a person should look at it.
	Warn
	// Fail means that the examined thing does not work.
	Fail
)

var statusNames = [...]string{OK: "ok", Warn: "warning", Fail: "FAILED"}

func (s Status) String() string { return statusNames[s] }

// Finding is the result of one examination.
type Finding struct {
	Status Status
	// Topic names the examined thing in one or two words. Text is the result. Do says what to do
	// about it.
	Topic, Text, Do string
}

// Judge examines everything and returns the findings, the most basic things first.
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

// Worst returns the worst status of the findings.
func Worst(findings []Finding) Status {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Status)
	}
	return worst
}

// primary reports whether snap has work to do on this host.
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
