package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// proofsFile is the content of the file [checker.ProofsName], which package drill writes.
type proofsFile struct {
	Version int             `json:"version"`
	Guests  []checker.Proof `json:"guests"`
}

// LoadProofs reads the records of drills. A missing file means that there was no drill. Any other
// file that cannot be read completely, or that a user other than root could have written, is a
// problem.
func LoadProofs(path string) checker.Proofs {
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checker.Proofs{}
	}
	var file proofsFile
	if err == nil {
		if err = json.Unmarshal(text, &file); err == nil {
			err = file.check()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		return checker.Proofs{Problem: err.Error()}
	}
	return checker.Proofs{Guests: file.Guests}
}

// check returns an error if the file is of another version or lacks a value that each record has.
// check sets the zone of all times to UTC.
func (f proofsFile) check() error {
	if f.Version != checker.ProofsVersion {
		return fmt.Errorf("version %d is not known, but %d is", f.Version, checker.ProofsVersion)
	}
	for i := range f.Guests {
		p := &f.Guests[i]
		complete := p.VMID > 0
		for _, d := range []*checker.Drill{&p.Last, p.Good} {
			if d != nil {
				complete = complete && !d.At.IsZero() && d.Reach != ""
				d.At = d.At.UTC()
			}
		}
		for j := range p.Open {
			f := &p.Open[j]
			complete = complete && !f.At.IsZero() && f.Kind != ""
			f.At = f.At.UTC()
		}
		if !complete {
			return fmt.Errorf("the record of guest %d is incomplete", p.VMID)
		}
	}
	return nil
}
