package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// changesFile is the file in which check --changes remembers the problems that it printed. All
// checks of one user with the same flags use the same file.
type changesFile struct {
	Version int `json:"version"`
	checker.Told
}

const changesVersion = 1

// changesPath returns the path of the changesFile. The changesFile is next to the cache, and each
// set of flags has a changesFile of its own.
func (c *checkCmd) changesPath() (string, error) {
	cache := cachePath(c.Cache)
	if cache == "" {
		return "", errors.New("this user has no cache directory; name a file with --cache")
	}
	if err := anothersCache(cache); err != nil {
		return "", err
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

// telling has the lines that check --changes prints, and the record of printed changes that check
// --changes must save after printing.
type telling struct {
	lines []string
	told  checker.Told
}

// changes returns the lines to print about each change since the last check with the same flags. If
// no verdict changed, changes returns no line, and saves the new record of printed changes. If
// there are lines to print, changes saves the old record again, to prove that saving works, and
// [checkCmd.saveTold] saves the new record after printing. The error is the reason why changes
// could not save the record.
func (c *checkCmd) changes(r checker.Report) (telling, error) {
	path, err := c.changesPath()
	if err != nil {
		return telling{}, err
	}
	before, lost := loadTold(path)
	lines, told := before.Update(r, time.Duration(c.Remind))
	if lost != nil {
		lines = append([]string{fmt.Sprintf("the record of printed changes could not be read, so all current problems are printed again: %v", lost)}, lines...)
	}
	now := before
	if len(lines) == 0 {
		now = told
	}
	return telling{lines, told}, saveTold(path, now)
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

// saveTold saves the record of printed changes. If a check is killed before saveTold, the next
// check prints the same changes again.
func (c *checkCmd) saveTold(told checker.Told) error {
	path, err := c.changesPath()
	if err != nil {
		return err
	}
	return saveTold(path, told)
}

// inTime calls the function work, and returns the result of work. The argument `left` is the
// longest time that work may take: after this time, but not before a tenth of a second, inTime
// returns an error.
func inTime[T any](left time.Duration, work func() (T, error)) (T, error) {
	const least = 100 * time.Millisecond
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := work()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-time.After(max(left, least)):
		return *new(T), errors.New("reading and writing the record of printed changes takes too long")
	}
}

// If there is a change, printChanges prints the changes and the report. printChanges saves the
// record of printed changes after printing, because printing a change twice is better than never
// printing it. The function `left` returns the longest time that reading and saving the record of
// printed changes may take.
func (c *checkCmd) printChanges(w io.Writer, r checker.Report, left func() time.Duration) error {
	t, err := inTime(left(), func() (telling, error) { return c.changes(r) })
	kept := err == nil
	if !kept {
		if r.State() == checker.OK {
			return nil
		}
		t.lines = []string{fmt.Sprintf("changes are unknown, so this check prints all current problems: %v", err)}
	}
	if len(t.lines) == 0 {
		return nil
	}
	for _, line := range t.lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if err := c.write(w, r); err != nil || !kept {
		return err
	}
	_, err = inTime(left(), func() (struct{}, error) { return struct{}{}, c.saveTold(t.told) })
	if err != nil {
		_, err = fmt.Fprintf(w, "the record of printed changes could not be saved, so the next check prints these changes again: %v\n", err)
	}
	return err
}
