package text

import (
	"strconv"
	"time"
)

// Age returns a text for a length of time, for people, in the two largest units, such as 45s, 12m,
// 3h50m or 2d4h.
func Age(d time.Duration) string { return string(AppendAge(make([]byte, 0, 24), d)) }

// AppendAge appends the result of [Age] to text.
func AppendAge(text []byte, d time.Duration) []byte {
	units := []struct {
		name byte
		span time.Duration
	}{{'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}
	if d < 0 {
		return AppendAge(append(text, '-'), -d)
	}
	for i, u := range units {
		if d < u.span {
			continue
		}
		text = append(strconv.AppendInt(text, int64(d/u.span), 10), u.name)
		if i+1 < len(units) {
			next := units[i+1]
			if rest := d % u.span / next.span; rest > 0 {
				text = append(strconv.AppendInt(text, int64(rest), 10), next.name)
			}
		}
		return text
	}
	return append(text, "0s"...)
}
