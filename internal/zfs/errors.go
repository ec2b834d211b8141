package zfs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"snapwatch/internal/command"
)

// ErrOutput is in the chain of every error that reports unexpected output of zfs or zpool.
var ErrOutput = errors.New("unreadable output")

// outputError adds [ErrOutput] to an error's chain and leaves the error's text unchanged.
type outputError struct{ error }

func (e outputError) Unwrap() []error { return []error{ErrOutput, e.error} }

func unreadable(format string, args ...any) error {
	return outputError{fmt.Errorf(format, args...)}
}

// Complained reports whether zfs exited by itself with an error status. If zfs exited by itself,
// each row that it printed is complete, but rows may be missing.
func Complained(err error) bool {
	_, is := errors.AsType[*command.Error](err)
	return is && command.ExitCode(err) > 0
}

// Faults is the error of a call that could not read some properties of some datasets. Faults has,
// by dataset, the reason why the properties could not be read. The result for a dataset without an
// entry in Faults is complete.
type Faults map[string]string

func (f Faults) Error() string {
	var texts []string
	for _, dataset := range slices.Sorted(maps.Keys(f)) {
		texts = append(texts, f[dataset]+" ("+dataset+")")
	}
	return strings.Join(texts, "; ")
}

// Unwrap makes errors.Is(f, ErrOutput) true.
func (f Faults) Unwrap() error { return ErrOutput }

// add records the error of reading a dataset. If the dataset already has an error, add keeps the
// first error.
func (f Faults) add(dataset string, err error) {
	if _, has := f[dataset]; !has {
		f[dataset] = err.Error()
	}
}

// With returns the union of the two Faults f and other.
func (f Faults) With(other Faults) Faults {
	both := Faults{}
	maps.Copy(both, f)
	maps.Copy(both, other)
	return both
}

// orNil returns the faults as an error, or nil if every dataset could be read.
func (f Faults) orNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}
