package crontab

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// often are the times of the words that cron takes in place of five fields.
var often = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Period returns the longest time that lies between two starts of the line, 0 where cron does
// not start it again and again, or the times are none that this package understands.
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
			today = monthday || weekday // either is enough where both are named
		}
		return today && slices.Contains(at[3], int(date.Month()))
	})
}

// longest is the longest time between two starts within some years, 0 where there are none:
// at these minutes of these hours of some days.
func longest(minutes, hours []int, on func(date time.Time) bool) time.Duration {
	var starts []int // minutes of a day
	for _, hour := range hours {
		for _, minute := range minutes {
			starts = append(starts, hour*60+minute)
		}
	}
	first, last, most := starts[0], starts[len(starts)-1], 0
	for i, start := range starts[1:] {
		most = max(most, start-starts[i])
	}
	// The years are any that hold a leap day.
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

// values are the numbers that a field stands for, in order; none where it is not understood.
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
				in[0] = true // a Sunday
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

// number is what a word of the field stands for, -1 for none.
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
