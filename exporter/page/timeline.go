package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// The measures of a drawn timeline are in units of its SVG. A narrow browser window has a
// separate drawing, because a wide drawing that is scaled down cannot be read.
const (
	wide, narrow  = 960.0, 340.0
	timelineLeft  = 84.0
	timelineRight = 12.0
	// limitsHeight is the height of the labels of the limits, and ticksHeight the height of the
	// labels of the ages.
	limitsHeight = 34.0
	ticksHeight  = 34.0
	laneHeight   = 26.0
	markHeight   = 16.0
	// labelWidth is the width that the label of an age needs.
	labelWidth = 84.0
)

// youngest is the age at the right end of a timeline. The axis is logarithmic, so that both an
// hour and a year can be seen.
const youngest = 5 * time.Minute

// maxMarks is the greatest number of snapshots of a class that are drawn as separate elements with
// their names. If a class has more snapshots than maxMarks, one path draws them all, because a page
// with thousands of elements is slow.
const maxMarks = 100

// timeline is the drawing of a disk's snapshots, by class.
type timeline struct {
	Width, Height float64
	// Top and Bottom are the vertical positions at which the rows of snapshots begin and end.
	Top, Bottom float64
	Narrow      bool
	Lanes       []lane
	Ticks       []tick
	Limits      []limitLine
	// Drawn is the number of snapshots in the drawing, the newest ones, and Total the number of
	// all snapshots of the disk.
	Drawn, Total int
}

// lane is one row of the timeline: the snapshots of one class.
type lane struct {
	Name           string
	Count          int
	Newest, Oldest zfs.Snapshot
	TextY, LineY   float64
	// Path draws all snapshots of the row as one path, if there are too many for separate Marks.
	Path  string
	Marks []mark
}

// mark is one snapshot in a timeline, with its name as the title.
type mark struct{ Path, Title string }

// tick is the label of an age on the axis of a timeline, with the time at this age.
type tick struct {
	X           float64
	Label, When string
}

// limitLine is the line of an age limit in a timeline.
type limitLine struct {
	X, Y float64
	// Label is the text of the limit, and Rule its source in the configuration. Anchor says which
	// end of the label touches the line.
	Label, Rule, Anchor string
}

// draw returns the timeline of a disk's snapshots at the time now.
func draw(all []zfs.Snapshot, total int, d checker.Result, now time.Time, width float64) timeline {
	oldest := 24 * time.Hour
	for _, s := range all {
		oldest = max(oldest, now.Sub(s.Creation))
	}
	x := func(age time.Duration) float64 {
		share := math.Log(float64(max(age, youngest))/float64(youngest)) / math.Log(float64(oldest)/float64(youngest))
		return timelineLeft + (1-share)*(width-timelineLeft-timelineRight)
	}
	t := timeline{Width: width, Narrow: width == narrow, Top: limitsHeight, Drawn: len(all), Total: total, Lanes: lanes(all, now, x)}
	t.Bottom = t.Top + float64(len(t.Lanes))*laneHeight
	t.Height = t.Bottom + ticksHeight
	last := width + labelWidth
	for _, age := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour, 5 * 365 * 24 * time.Hour} {
		at := x(age)
		if age > oldest || at+labelWidth > min(last, width) || at < timelineLeft {
			continue
		}
		last = at
		t.Ticks = append(t.Ticks, tick{X: at, Label: tickName(age) + " ago", When: sinceWords(now, now.Add(-age))})
	}
	for i, limit := range []checker.Limit{d.Warning, d.Critical} {
		if limit.Range == nil || math.IsInf(limit.Range.End, 0) || limit.Range.End <= 0 {
			continue
		}
		age := time.Duration(limit.Range.End * float64(time.Second))
		if age < youngest || age > oldest {
			continue
		}
		l := limitLine{X: x(age), Y: 13 + 15*float64(i), Label: []string{"warning ", "critical "}[i] + limit.Range.Spoken(), Rule: limit.String(), Anchor: "end"}
		if l.X < width/2 {
			l.Anchor = "start"
		}
		t.Limits = append(t.Limits, l)
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

// lanes returns a row of the timeline for each class that has snapshots: the class with the
// shortest period first, then _stopped, then snapshots that are not managed.
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
			drawn = append(drawn, newLane(name, kept, limitsHeight+float64(len(drawn))*laneHeight, now, x))
		}
	}
	return drawn
}

func newLane(name string, kept []zfs.Snapshot, top float64, now time.Time, x func(time.Duration) float64) lane {
	byAge := func(a, b zfs.Snapshot) int { return cmp.Compare(a.Creation.Unix(), b.Creation.Unix()) }
	l := lane{Name: name, Count: len(kept), Newest: slices.MaxFunc(kept, byAge), Oldest: slices.MinFunc(kept, byAge), TextY: top + 17, LineY: top + laneHeight - 2}
	var path strings.Builder
	for _, s := range kept {
		one := fmt.Sprintf("M%.1f %.1fv%.0f", x(now.Sub(s.Creation)), top+(laneHeight-markHeight)/2-1, markHeight)
		path.WriteString(one)
		if len(kept) <= maxMarks {
			age := text.Age(max(0, now.Sub(s.Creation)))
			l.Marks = append(l.Marks, mark{one, fmt.Sprintf("%s, %s, %s ago", s.Name, s.Creation.Format(time.DateTime), age)})
		}
	}
	if l.Marks == nil {
		l.Path = path.String()
	}
	return l
}
