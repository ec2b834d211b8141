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

// changesFile is what was told by the checks of one user that ask the same.
type changesFile struct {
	Version int `json:"version"`
	checker.Told
}

const changesVersion = 1

// changesPath is where that is kept: beside the cache, in a file of its own for each question.
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

// changes are the lines that say what has changed since the last check that asked the same;
// none where there is nothing to tell. They are told once: what was told is kept before. The
// error is why it cannot be kept.
func (c *checkCmd) changes(r checker.Report) (lines []string, err error) {
	path, err := c.changesPath()
	if err != nil {
		return nil, err
	}
	told, lost := loadTold(path)
	lines, told = told.Update(r, time.Duration(c.Remind))
	if lost != nil {
		lines = append([]string{fmt.Sprintf("what was told before is lost, so that all that is not well is told again: %v", lost)}, lines...)
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

// untold forgets what was told, where it could not be printed: the next check tells it.
func (c *checkCmd) untold() {
	if path, err := c.changesPath(); err == nil {
		_ = os.Remove(path)
	}
}

// toTell returns what to print before the report, and whether to print at all. It takes no
// longer than the time that is left, or a moment.
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
		a.err = errors.New("reading and writing what was told takes too long")
	}
	if a.err != nil {
		return []string{fmt.Sprintf("changes cannot be told, so that this check says all that is not well: %v", a.err)}, r.State() != checker.OK
	}
	return a.lines, len(a.lines) > 0
}
