package zfs

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The patterns for the output of `zpool status -p` up to OpenZFS 2.2. The parser reports a line
// that matches none of the patterns as unknown, and does not guess its meaning.
var (
	statusKey = regexp.MustCompile(`^ {0,2}([a-z]+): ?(.*)$`)
	// deviceLine matches the line of a device, which begins with a tab. The device's name may
	// contain spaces. The lines of spares have no error counters. A device in an unknown state is
	// faulty.
	deviceLine = regexp.MustCompile(`^\t *(\S.*?)  +([A-Z_]+) +(\d+) +(\d+) +(\d+)(?: .*)?$`)
	spareLine  = regexp.MustCompile(`^\t *(\S.*?)  +(INUSE|AVAIL|FAULTED|UNAVAIL|OFFLINE|REMOVED)(?: .*)?$`)
	groupLine  = regexp.MustCompile(`^\t(logs|cache|spares|special|dedup)\s*$`)
	columnLine = regexp.MustCompile(`^\tNAME +STATE +READ +WRITE +CKSUM`)

	scanFinished = regexp.MustCompile(`^(scrub repaired|resilvered) .* with (\d+) errors on (.*)$`)
	scanCanceled = regexp.MustCompile(`^(scrub|resilver) (?:\(\S+\) )?canceled on (.*)$`)
	scanRunning  = regexp.MustCompile(`^(scrub|resilver) (?:\(\S+\) )?in progress since (.*)$`)
	scanPaused   = regexp.MustCompile(`^scrub paused since (.*)$`)
	scanStarted  = regexp.MustCompile(`^\tscrub started on (.*)$`)

	errorCount = regexp.MustCompile(`^(\d+) data errors, use '-v' for a list$`)
)

const (
	noDataErrors    = "No known data errors"
	permanentErrors = "Permanent errors have been detected in the following files:"
	placeIndent     = "        "
	// ctime is the format in which ctime(3) prints a time, in the zone of this host.
	ctime = "Mon Jan _2 15:04:05 2006"
)

// statusText is a partly parsed output of zpool status.
type statusText struct {
	PoolHealth
	zone *time.Location
	// key is the name of the section that is being parsed. scan is the scrub or resilver that the
	// lines of this section describe.
	key  string
	scan *PoolScan
	// Every output of zpool status has a line with the pool's name, a line with the pool's state,
	// and a line with the number of errors. named, stated and counted are true if the line with the
	// name, the state and the number was read.
	named, stated, counted bool
}

// parsePoolStatus parses the output of `zpool status -p`, with or without -v, for one pool.
func parsePoolStatus(text, pool string, zone *time.Location) (PoolHealth, error) {
	s := statusText{zone: zone}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := statusKey.FindStringSubmatch(line); m != nil && s.Damaged == nil {
			s.beginSection(m[1], m[2], line, pool)
		} else if strings.TrimSpace(line) != "" {
			s.nextLine(line)
		}
	}
	if !s.named || !s.stated || !s.counted {
		return PoolHealth{}, unreadable("zpool status lacks the name, state or errors of pool %s: %q", pool, text)
	}
	return s.PoolHealth, nil
}

func (s *statusText) unknown(line string) { s.Unknown = append(s.Unknown, strings.TrimSpace(line)) }

// beginSection parses the first line of a section of zpool status.
func (s *statusText) beginSection(key, value, line, pool string) {
	s.key, s.scan = key, nil
	switch key {
	case "pool":
		s.named = value == pool
	case "state":
		s.State, s.stated = strings.TrimSpace(value), true
	case "scan":
		s.begins(value, line)
	case "errors":
		s.counts(value, line)
	case "scrub": // this scrub reads only the known errors, not the rest of the pool
	case "status", "action", "see", "remove", "checkpoint", "config", "comment", "dedup", "expand":
	default:
		s.unknown(line)
	}
}

// begins parses the line with which zpool status begins to describe a scrub or resilver.
func (s *statusText) begins(value, line string) {
	scan := PoolScan{}
	kind, at, err := "scrub", "", error(nil)
	switch m := []string(nil); {
	case value == "none requested":
		return
	case match(&m, scanFinished, value):
		scan.State, kind, at = ScanFinished, strings.TrimSuffix(strings.Fields(m[1])[0], "ed"), m[3]
		scan.Errors, err = strconv.ParseUint(m[2], 10, 64)
	case match(&m, scanCanceled, value):
		scan.State, kind, at = ScanCanceled, m[1], m[2]
	case match(&m, scanRunning, value):
		scan.State, kind, at = ScanRunning, m[1], m[2]
	case match(&m, scanPaused, value):
		scan.State, at = ScanPaused, m[1]
	default:
		s.unknown(line)
		return
	}
	when, timeErr := time.ParseInLocation(ctime, strings.TrimSpace(at), s.zone)
	if err != nil || timeErr != nil {
		s.unknown(line)
		return
	}
	if scan.UnderWay() {
		scan.Start = when
	} else {
		scan.End = when
	}
	s.scan = &s.Scrub
	if kind == "resilver" {
		s.scan = &s.Resilver
	}
	*s.scan = scan
}

func match(m *[]string, form *regexp.Regexp, text string) bool {
	*m = form.FindStringSubmatch(text)
	return *m != nil
}

// counts parses the line of zpool status with the number of permanent errors.
func (s *statusText) counts(value, line string) {
	switch m := errorCount.FindStringSubmatch(value); {
	case value == noDataErrors:
		s.counted = true
	case value == permanentErrors:
		// The pool has at least one permanent error, even if zpool status lists no file with
		// errors.
		s.counted, s.Damaged, s.DataErrors = true, []string{}, 1
	case m != nil:
		n, err := strconv.ParseUint(m[1], 10, 64)
		s.DataErrors, s.counted = n, err == nil
	default:
		s.unknown(line)
	}
}

// nextLine parses a line of a section of zpool status, but not the section's first line.
func (s *statusText) nextLine(line string) {
	switch s.key {
	case "config":
		s.device(line)
	case "errors":
		if s.Damaged == nil {
			s.unknown(line)
			return
		}
		// The output ends with the list of damaged files and objects. A file's name may contain
		// line breaks: a line without the indent continues the file's name in the line before.
		place, begins := strings.CutPrefix(line, placeIndent)
		switch {
		case begins:
			s.Damaged = append(s.Damaged, place)
		case len(s.Damaged) > 0:
			s.Damaged[len(s.Damaged)-1] += "\n" + line
		default:
			s.unknown(line)
		}
		s.DataErrors = max(1, uint64(len(s.Damaged)))
	case "scan":
		if m := scanStarted.FindStringSubmatch(line); m != nil && s.scan != nil {
			if at, err := time.ParseInLocation(ctime, strings.TrimSpace(m[1]), s.zone); err == nil {
				s.scan.Start = at
			}
		}
	}
}

func (s *statusText) device(line string) {
	if columnLine.MatchString(line) || groupLine.MatchString(line) {
		return
	}
	m := deviceLine.FindStringSubmatch(line)
	if m == nil {
		if m = spareLine.FindStringSubmatch(line); m == nil {
			s.unknown(line)
			return
		}
		m = append(m, "0", "0", "0")
	}
	d := Device{Name: m[1], State: m[2]}
	for i, n := range []*uint64{&d.Read, &d.Write, &d.Checksum} {
		var err error
		if *n, err = strconv.ParseUint(m[3+i], 10, 64); err != nil {
			s.unknown(line)
			return
		}
	}
	if !d.well() {
		s.Devices = append(s.Devices, d)
	}
}
