package doctor

import "fmt"

// Status says how much a finding matters: the exit status that it calls for.
type Status int

// The statuses.
const (
	// OK is as it should be.
	OK Status = iota
	// Warn works, and a person should look.
	Warn
	// Fail does not work.
	Fail
)

var statusNames = [...]string{OK: "ok", Warn: "warning", Fail: "FAILED"}

func (s Status) String() string { return statusNames[s] }

// Finding is one thing that was looked at.
type Finding struct {
	Status Status
	// Topic is a word or two, Text what was found, Do what to do about it.
	Topic, Text, Do string
}

// Judge looks at everything and returns what it finds, in the order in which one thing
// needs the other.
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

// Worst is the worst status of the findings.
func Worst(findings []Finding) Status {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Status)
	}
	return worst
}

// primary reports whether snap has work here.
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
