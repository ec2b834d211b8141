package scan

import (
	"errors"
	"fmt"
	"io/fs"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// LoadProofs reads the records of drills. A missing file means that there was no drill. Any other
// file that cannot be read completely, or that a user other than root could have written, is a
// problem.
func LoadProofs(path string) checker.Proofs {
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checker.Proofs{}
	}
	var guests []checker.Proof
	if err == nil {
		if guests, err = checker.ParseProofs(text); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		return checker.Proofs{Problem: err.Error()}
	}
	return checker.Proofs{Guests: guests}
}
