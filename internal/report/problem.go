package report

import (
	"errors"
)

// Problem is something a person should know.
type Problem struct {
	Severity Severity `json:"level"`
	Text     string   `json:"text"`
	// Kept stands for Text in the file, which others may read: less than Text, or nothing.
	// Without it the file has Text.
	Kept *string `json:"-"`
}

// Printed is an error of a program of the user's. Its text leaves out what that printed,
// which is only for whoever starts the run: All has it.
type Printed struct {
	Err error
	All string
}

func (p *Printed) Error() string { return p.Err.Error() }

func (p *Printed) Unwrap() error { return p.Err }

// ProblemOf returns the problem that err is.
func ProblemOf(severity Severity, err error) Problem {
	p := Problem{Severity: severity, Text: err.Error()}
	if printed, ok := errors.AsType[*Printed](err); ok {
		kept := p.Text
		p.Text, p.Kept = printed.All, &kept
	}
	return p
}

// Severity is how much a problem matters.
type Severity string

// The severities. A notice is for a person at a terminal, who can do something about it
// in his own time; a warning is worth a mail.
const (
	Info    Severity = "info"
	Notice  Severity = "notice"
	Warning Severity = "warning"
)

// Event is a kind of change that is counted.
type Event string

// The events.
const (
	DidSnapshot Event = "snapshot"
	DidDestroy  Event = "destroy"
	DidLabel    Event = "label"
	DidBookmark Event = "bookmark"
	DidFail     Event = "failure"
)

// Events returns all events.
func Events() []Event { return []Event{DidSnapshot, DidDestroy, DidLabel, DidBookmark, DidFail} }
