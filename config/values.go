package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Duration is a length of time, written as 90m, 2h or 1d12h.
type Duration time.Duration

// ParseDuration parses a length of time such as 90m, 2h, 30d or 1d12h. A day has 24 hours.
func ParseDuration(text string) (Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write it as 90m, 2h or 1d12h", text)
	}
	return Duration(d), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string { return model.Duration(d).String() }

// Std returns the duration as a [time.Duration].
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Percent is a share from 0 to 100, written as 80%.
type Percent int

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Percent) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	n, err := strconv.Atoi(number)
	if !percent || err != nil || n < 0 || n > 100 || number[0] == '+' {
		return fmt.Errorf("%q is not a share; write it as 80%%, or 0%% for no limit", text)
	}
	*p = Percent(n)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// Selector selects the disks to which an entry of the configuration applies. A Selector has at
// least one of its keys. A Selector selects a disk if each of its keys matches the disk.
type Selector struct {
	// VMID is a list of VMIDs and ranges of VMIDs: "100", "100-199,250".
	VMID VMIDs `yaml:"vmid,omitempty"`
	// Disk is a shell pattern for the dataset's full name or its last component.
	Disk string `yaml:"disk,omitempty"`
	// Pool is a shell pattern for the pool's name.
	Pool string `yaml:"pool,omitempty"`
}

// Matches reports whether the selector selects the disk with this full dataset name and VMID.
func (s Selector) Matches(dataset string, vmid int) bool {
	pool, _, _ := strings.Cut(dataset, "/")
	if len(s.VMID) > 0 && !s.VMID.Contains(vmid) {
		return false
	}
	if s.Pool != "" && !matches(s.Pool, pool) {
		return false
	}
	return s.Disk == "" || matches(s.Disk, dataset) || matches(s.Disk, path.Base(dataset))
}

func (s Selector) String() string {
	var parts []string
	if len(s.VMID) > 0 {
		parts = append(parts, "vmid "+s.VMID.String())
	}
	if s.Disk != "" {
		parts = append(parts, "disk "+s.Disk)
	}
	if s.Pool != "" {
		parts = append(parts, "pool "+s.Pool)
	}
	return strings.Join(parts, ", ")
}

func (s Selector) validate() error {
	if len(s.VMID) == 0 && s.Disk == "" && s.Pool == "" {
		return errors.New("selects no disk; give vmid, disk or pool")
	}
	for _, pattern := range []string{s.Disk, s.Pool} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	return nil
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// VMIDs is a set of VMIDs, stored as ranges.
type VMIDs []struct{ First, Last int }

var vmidRange = regexp.MustCompile(`^([1-9]\d{0,8})(?:-([1-9]\d{0,8}))?$`)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *VMIDs) UnmarshalText(text []byte) error {
	*v = nil
	for word := range strings.SplitSeq(string(text), ",") {
		m := vmidRange.FindStringSubmatch(strings.TrimSpace(word))
		if m == nil {
			return fmt.Errorf("vmid: %q is neither a VMID nor a range; write 100 or 100-199,250", word)
		}
		first, _ := strconv.Atoi(m[1])
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		if last < first {
			return fmt.Errorf("vmid: the range %q ends before it begins", word)
		}
		*v = append(*v, struct{ First, Last int }{first, last})
	}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (v VMIDs) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Contains reports whether the VMID vmid is in one of the ranges.
func (v VMIDs) Contains(vmid int) bool {
	for _, r := range v {
		if r.First <= vmid && vmid <= r.Last {
			return true
		}
	}
	return false
}

// common returns a VMID that is in both v and w, and false if there is no such VMID.
func (v VMIDs) common(w VMIDs) (vmid int, ok bool) {
	for _, r := range v {
		for _, s := range w {
			if r.First <= s.Last && s.First <= r.Last {
				return max(r.First, s.First), true
			}
		}
	}
	return 0, false
}

func (v VMIDs) String() string {
	var words []string
	for _, r := range v {
		word := strconv.Itoa(r.First)
		if r.Last != r.First {
			word += "-" + strconv.Itoa(r.Last)
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

var datasetPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.: -]*(/[A-Za-z0-9_.: -]+)*$`)

func validateDataset(name string) error {
	if !datasetPattern.MatchString(name) {
		return fmt.Errorf("%q is not the name of a dataset", name)
	}
	return nil
}

func validatePool(name string) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("%q is a dataset; name only the pool", name)
	}
	return validateDataset(name)
}
