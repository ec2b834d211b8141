package crontab

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// cron accepts a word such as @hourly in place of five time fields. The map `often` has, for each
// of these words, the same schedule in five fields.
var often = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Period returns the longest time between two starts of the crontab line by cron, 0 if cron does
// not run the line regularly, or if this package does not understand the schedule.
func (e Entry) Period() time.Duration {
	words := strings.Fields(strings.ToLower(e.Line))
	if len(words) > 0 && often[words[0]] != "" {
		words = strings.Fields(often[words[0]])
	}
	if e.Never() != "" || len(words) < len(fields) {
		return 0
	}
	var at [5][]int
	for i, f := range fields {
		if at[i] = f.values(strings.TrimPrefix(words[i], "-")); len(at[i]) == 0 {
			return 0
		}
	}
	anyDay, anyWeekday := strings.HasPrefix(words[2], "*"), strings.HasPrefix(words[4], "*")
	return longest(at[0], at[1], func(date time.Time) bool {
		monthday, weekday := slices.Contains(at[2], date.Day()), slices.Contains(at[4], int(date.Weekday()))
		today := monthday && weekday
		if !anyDay && !anyWeekday {
			today = monthday || weekday // if day of month and day of week are both restricted, cron starts on days that match either
		}
		return today && slices.Contains(at[3], int(date.Month()))
	})
}

// longest returns the longest time between two successive starts by cron within three
// years, 0 if there is no start. cron starts the line at each of the given minutes of each of the
// given hours, on each day for which the argument `on`, a function, returns true.
func longest(minutes, hours []int, on func(date time.Time) bool) time.Duration {
	var starts []int // the starts on one day, in minutes since midnight
	for _, hour := range hours {
		for _, minute := range minutes {
			starts = append(starts, hour*60+minute)
		}
	}
	first, last, most := starts[0], starts[len(starts)-1], 0
	for i, start := range starts[1:] {
		most = max(most, start-starts[i])
	}
	// Three years that contain a leap day also contain the longest time between two starts.
	begin, before := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), -1
	for day := range 3 * 366 {
		if !on(begin.AddDate(0, 0, day)) {
			continue
		}
		if before >= 0 {
			most = max(most, (day-before)*24*60+first-last)
		}
		before = day
	}
	if before < 0 {
		return 0
	}
	return time.Duration(most) * time.Minute
}

// values returns the numbers that the text of a time field selects, sorted, or none if the package
// does not understand the text.
func (f field) values(text string) []int {
	in := map[int]bool{}
	for part := range strings.SplitSeq(text, ",") {
		span, every, stepped := strings.Cut(part, "/")
		step, err := strconv.Atoi(every)
		if stepped && (err != nil || step < 1) {
			return nil
		}
		from, to, ranged := strings.Cut(span, "-")
		low, high := f.number(from), f.number(to)
		switch {
		case span == "*":
			low, high = f.low, f.high
		case !ranged && stepped:
			high = f.high
		case !ranged:
			high = low
		}
		if low < 0 || high < low {
			return nil
		}
		for n := low; n <= high; n += max(step, 1) {
			if f.high == 7 && n == 7 {
				in[0] = true // 7 is Sunday, too
			}
			in[n] = true
		}
	}
	var all []int
	for n := f.low; n <= f.high; n++ {
		if in[n] {
			all = append(all, n)
		}
	}
	return all
}

// number returns the number that a word of a time field means, such as 1 for jan, or -1 if the word
// is not understood.
func (f field) number(word string) int {
	if at := slices.Index(f.names, word); at >= 0 {
		return f.low + at
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < f.low || n > f.high {
		return -1
	}
	return n
}
