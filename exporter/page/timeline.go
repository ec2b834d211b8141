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

// The measures of a timeline, in its own units. A window that is narrow has a drawing of its
// own: one that is made smaller cannot be read.
const (
	wide, narrow  = 960.0, 340.0
	timelineLeft  = 84.0
	timelineRight = 12.0
	// limitsHeight is the room for the labels of the limits, ticksHeight that for the ages.
	limitsHeight = 34.0
	ticksHeight  = 34.0
	laneHeight   = 26.0
	markHeight   = 16.0
	// labelWidth is the room that the label of an age needs.
	labelWidth = 84.0
)

// youngest is the age at a timeline's right end; the ages grow to the left by their
// logarithm, so that an hour and a year are both seen.
const youngest = 5 * time.Minute

// maxMarks is how many snapshots of a class are drawn each with its name. Of more the class is
// one path: a page of many thousand elements is slow.
const maxMarks = 100

// timeline is a disk's snapshots by class, as it is drawn.
type timeline struct {
	Width, Height float64
	// Top and Bottom are where the lanes begin and end.
	Top, Bottom float64
	Narrow      bool
	Lanes       []lane
	Ticks       []tick
	Limits      []limitLine
	// Drawn of Total snapshots are drawn, the newest.
	Drawn, Total int
}

// lane are the snapshots of one class.
type lane struct {
	Name           string
	Count          int
	Newest, Oldest zfs.Snapshot
	TextY, LineY   float64
	// Path draws all of them at once, where Marks, each with its name, would be too many.
	Path  string
	Marks []mark
}

// mark is one snapshot.
type mark struct{ Path, Title string }

// tick is an age on the axis, with the time it stands for.
type tick struct {
	X           float64
	Label, When string
}

// limitLine is a limit on the axis.
type limitLine struct {
	X, Y float64
	// Label is what it says, Rule where it comes from. Anchor is the end of the label that
	// stands at the line.
	Label, Rule, Anchor string
}

// draw makes the timeline of a disk's snapshots at a time.
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

// lanes returns a lane for each class that has snapshots: the shortest period first, then
// _stopped, then snapshots that are not managed.
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
