package checker

import (
	"strconv"
	"time"
)

// Age writes a span of time for people, with its two largest units: 45s, 12m,
// 3h50m, 2d4h.
func Age(d time.Duration) string {
	units := []struct {
		name string
		span time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	if d < 0 {
		return "-" + Age(-d)
	}
	for i, u := range units {
		if d < u.span {
			continue
		}
		text := strconv.FormatInt(int64(d/u.span), 10) + u.name
		if i+1 < len(units) {
			next := units[i+1]
			if rest := d % u.span / next.span; rest > 0 {
				text += strconv.FormatInt(int64(rest), 10) + next.name
			}
		}
		return text
	}
	return "0s"
}
