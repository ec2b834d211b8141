package report

import (
	"errors"
)

// Problem is a message that a person should read.
type Problem struct {
	Severity Severity `json:"level"`
	Text     string   `json:"text"`
	// Kept is written to the report file in place of Text, because other users may read the report
	// file. Kept is a text that is shorter than Text, or empty. If Kept is nil, Text is written to
	// the report file.
	Kept *string `json:"-"`
}

// Printed is the error of a user's program, such as a hook, that printed something. The text of Err
// does not contain the program's output. The text in All contains the program's output; only the
// person who starts the run may read All.
type Printed struct {
	Err error
	All string
}

func (p *Printed) Error() string { return p.Err.Error() }

func (p *Printed) Unwrap() error { return p.Err }

// ProblemOf returns the Problem for the report that describes the error err.
func ProblemOf(severity Severity, err error) Problem {
	p := Problem{Severity: severity, Text: err.Error()}
	if printed, ok := errors.AsType[*Printed](err); ok {
		kept := p.Text
		p.Text, p.Kept = printed.All, &kept
	}
	return p
}

// Severity is the importance of a problem in a report.
type Severity string

// The severities of a problem. A notice is for a person at a terminal, who may act on the problem
// later. A warning is important enough for a mail.
const (
	Info    Severity = "info"
	Notice  Severity = "notice"
	Warning Severity = "warning"
)

// Event is a kind of change to pools that the report counts.
type Event string

// The kinds of changes that the report counts.
const (
	DidSnapshot Event = "snapshot"
	DidDestroy  Event = "destroy"
	DidLabel    Event = "label"
	DidBookmark Event = "bookmark"
	DidFail     Event = "failure"
)

// Events returns all kinds of changes that the report counts.
func Events() []Event { return []Event{DidSnapshot, DidDestroy, DidLabel, DidBookmark, DidFail} }
