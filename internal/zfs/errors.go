package zfs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"snapwatch/internal/command"
)

// ErrOutput is in the chain of errors for output of zfs that is not of the form
// that was asked for.
var ErrOutput = errors.New("unreadable output")

// outputError is an error about output, with its own text.
type outputError struct{ error }

func (e outputError) Unwrap() []error { return []error{ErrOutput, e.error} }

func unreadable(format string, args ...any) error {
	return outputError{fmt.Errorf(format, args...)}
}

// Complained reports whether zfs ended by itself and said that something is wrong: each row
// that it printed is whole, and others may be lacking.
func Complained(err error) bool {
	_, is := errors.AsType[*command.Error](err)
	return is && command.ExitCode(err) > 0
}

// Faults is the error of a call that could not read something of some datasets, and says
// why, by dataset. What it read of the others is whole.
type Faults map[string]string

func (f Faults) Error() string {
	var texts []string
	for _, dataset := range slices.Sorted(maps.Keys(f)) {
		texts = append(texts, f[dataset]+" ("+dataset+")")
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets a Faults be an [ErrOutput].
func (f Faults) Unwrap() error { return ErrOutput }

// add notes the first fault of a dataset.
func (f Faults) add(dataset string, err error) {
	if _, has := f[dataset]; !has {
		f[dataset] = err.Error()
	}
}

// With returns the faults of both calls.
func (f Faults) With(other Faults) Faults {
	both := Faults{}
	maps.Copy(both, f)
	maps.Copy(both, other)
	return both
}

// orNil is the error, nil where there is no fault.
func (f Faults) orNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}
