package zfs

import (
	"errors"
	"fmt"
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
