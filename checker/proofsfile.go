package checker

import (
	"encoding/json"
	"fmt"
)

// proofsFile is the content of the file [ProofsName].
type proofsFile struct {
	Version int     `json:"version"`
	Guests  []Proof `json:"guests"`
}

// ParseProofs reads the text that [FormatProofs] returned. ParseProofs returns an error if the text
// is of another version or lacks a value that each record has.
func ParseProofs(text []byte) ([]Proof, error) {
	var file proofsFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	return file.Guests, file.check()
}

// FormatProofs returns the records of drills as text for a file.
func FormatProofs(guests []Proof) ([]byte, error) {
	text, err := json.MarshalIndent(proofsFile{ProofsVersion, guests}, "", "  ")
	return append(text, '\n'), err
}

// check returns an error if the file is of another version or lacks a value that each record has.
// check sets the zone of all times to UTC.
func (f proofsFile) check() error {
	if f.Version != ProofsVersion {
		return fmt.Errorf("version %d is not known, but %d is", f.Version, ProofsVersion)
	}
	for i := range f.Guests {
		p := &f.Guests[i]
		complete := p.VMID > 0
		for _, d := range []*Drill{&p.Last, p.Good} {
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
