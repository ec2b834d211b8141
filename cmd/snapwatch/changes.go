package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// changesFile is the file in which check --changes remembers what it printed. Checks of one user
// with the same flags share one file.
type changesFile struct {
	Version int `json:"version"`
	checker.Told
}

const changesVersion = 1

// changesPath returns the path of the changesFile: next to the cache, one file for each set of
// flags.
func (c *checkCmd) changesPath() (string, error) {
	cache := cachePath(c.Cache)
	if cache == "" {
		return "", errors.New("this user has no cache directory; name a file with --cache")
	}
	var limits [2]checker.Threshold
	for i, given := range []*checker.Threshold{c.Warning, c.Critical} {
		if given != nil {
			limits[i] = *given
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %#v %q %q %q", limits, c.filterFlags, c.Owners.URLs, c.From, c.Config))
	return strings.TrimSuffix(cache, ".json") + ".changes-" + hex.EncodeToString(sum[:6]) + ".json", nil
}

// changes returns lines for each change since the last check with the same flags, none where
// nothing changed. The new state is saved before it is printed, so each change is printed once.
// The error says why the state could not be saved.
func (c *checkCmd) changes(r checker.Report) (lines []string, err error) {
	path, err := c.changesPath()
	if err != nil {
		return nil, err
	}
	told, lost := loadTold(path)
	lines, told = told.Update(r, time.Duration(c.Remind))
	if lost != nil {
		lines = append([]string{fmt.Sprintf("the record of printed changes could not be read, so all current problems are printed again: %v", lost)}, lines...)
	}
	return lines, saveTold(path, told)
}

func loadTold(path string) (checker.Told, error) {
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return checker.Told{}, nil
	}
	if err != nil {
		return checker.Told{}, err
	}
	var file changesFile
	if err := json.Unmarshal(text, &file); err != nil {
		return checker.Told{}, fmt.Errorf("%s: %w", path, err)
	}
	if file.Version != changesVersion {
		return checker.Told{}, fmt.Errorf("%s: version %d is not known", path, file.Version)
	}
	return file.Told, nil
}

func saveTold(path string, told checker.Told) error {
	text, err := json.Marshal(changesFile{changesVersion, told})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return files.Replace(path, append(text, '\n'), 0o600)
}

// untold removes the changesFile after printing failed, so that the next check prints the
// changes.
func (c *checkCmd) untold() {
	if path, err := c.changesPath(); err == nil {
		_ = os.Remove(path)
	}
}

// toTell returns the lines to print before the report, and whether to print anything. It takes at
// most the time in left, but at least a tenth of a second.
func (c *checkCmd) toTell(r checker.Report, left time.Duration) (lines []string, tell bool) {
	if !c.Changes {
		return nil, !c.Quiet || r.State() != checker.OK
	}
	const least = 100 * time.Millisecond
	type answer struct {
		lines []string
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		lines, err := c.changes(r)
		answers <- answer{lines, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-time.After(max(left, least)):
		a.err = errors.New("reading and writing the record of printed changes takes too long")
	}
	if a.err != nil {
		return []string{fmt.Sprintf("changes are unknown, so this check prints all current problems: %v", a.err)}, r.State() != checker.OK
	}
	return a.lines, len(a.lines) > 0
}
