package page

import (
	"fmt"
	"math"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// The measures of a timeline, in its own units.
const (
	timelineWidth = 960.0
	timelineLeft  = 90.0
	timelineRight = 12.0
	laneHeight    = 26.0
	markHeight    = 16.0
)

// youngest is the age at a timeline's right end; the ages grow to the left by their
// logarithm, so that an hour and a year are both seen.
const youngest = 5 * time.Minute

// timeline is a disk's snapshots by class, as it is drawn.
type timeline struct {
	Width, Height float64
	Lanes         []lane
	Ticks, Limits []tick
	// Drawn of Total snapshots are drawn, the newest.
	Drawn, Total int
}

// lane are the snapshots of one class: one path, however many.
type lane struct {
	Name, Path     string
	Count          int
	Newest, Oldest time.Time
	TextY, LineY   float64
}

// tick is an age on the axis.
type tick struct {
	X, TextX float64
	Label    string
}

// draw makes the timeline of a disk's snapshots at a time.
func draw(all []zfs.Snapshot, total int, d checker.Result, now time.Time) timeline {
	oldest := 24 * time.Hour
	for _, s := range all {
		oldest = max(oldest, now.Sub(s.Creation))
	}
	x := func(age time.Duration) float64 {
		share := math.Log(float64(max(age, youngest))/float64(youngest)) / math.Log(float64(oldest)/float64(youngest))
		return timelineLeft + (1-share)*(timelineWidth-timelineLeft-timelineRight)
	}
	t := timeline{Width: timelineWidth, Drawn: len(all), Total: total, Lanes: lanes(all, now, x)}
	t.Height = float64(len(t.Lanes))*laneHeight + 24
	for _, age := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour, 5 * 365 * 24 * time.Hour} {
		if age <= oldest {
			t.Ticks = append(t.Ticks, tick{X: x(age), Label: tickName(age)})
		}
	}
	for _, limit := range []checker.Limit{d.Warning, d.Critical} {
		if limit.Range == nil || math.IsInf(limit.Range.End, 0) || limit.Range.End <= 0 {
			continue
		}
		age := time.Duration(limit.Range.End * float64(time.Second))
		if age >= youngest && age <= oldest {
			t.Limits = append(t.Limits, tick{X: x(age), Label: limit.String()})
		}
	}
	return t
}

func tickName(age time.Duration) string {
	days := int(age / (24 * time.Hour))
	switch {
	case days >= 365:
		return fmt.Sprintf("%dy", days/365)
	case days > 0:
		return fmt.Sprintf("%dd", days)
	}
	return text.Age(age)
}

// lanes are the classes that there are, the shortest period first, then the stops and
// what is not managed.
func lanes(all []zfs.Snapshot, now time.Time, x func(time.Duration) float64) []lane {
	names := checker.Suffixes() // stopped, then the longest first
	order := []string{}
	for i := len(names) - 1; i >= 0; i-- {
		if names[i] != checker.SuffixOther && names[i] != checker.SuffixNone {
			order = append(order, names[i])
		}
	}
	order = append(order, checker.SuffixOther)
	byName := map[string][]zfs.Snapshot{}
	for _, s := range all {
		name := checker.SuffixOther
		if class, managed := s.Class(); managed {
			name = class.String()
		}
		byName[name] = append(byName[name], s)
	}
	var drawn []lane
	for _, name := range order {
		if kept := byName[name]; len(kept) > 0 {
			drawn = append(drawn, newLane(name, kept, float64(len(drawn))*laneHeight, now, x))
		}
	}
	return drawn
}

func newLane(name string, kept []zfs.Snapshot, top float64, now time.Time, x func(time.Duration) float64) lane {
	l := lane{Name: name, Count: len(kept), Newest: kept[0].Creation, Oldest: kept[0].Creation, TextY: top + 17, LineY: top + laneHeight - 2}
	var path strings.Builder
	for _, s := range kept {
		if s.Creation.After(l.Newest) {
			l.Newest = s.Creation
		}
		if s.Creation.Before(l.Oldest) {
			l.Oldest = s.Creation
		}
		fmt.Fprintf(&path, "M%.1f %.1fv%.0f", x(now.Sub(s.Creation)), top+(laneHeight-markHeight)/2-1, markHeight)
	}
	l.Path = path.String()
	return l
}
