package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query contains the parameters in the page's URL, which select what the page shows. Unknown
// parameters are ignored, so that an old bookmark in a browser still works.
type query struct {
	// State, Verdict, Pool and Text select guests: by state, by verdict, by the pool of a disk,
	// and by a text in a name; "" selects all guests.
	State, Verdict, Pool, Text string
	// Sort is the order of the guests, one of the values of sorts.
	Sort string
	// Well is true if the page shows all guests that do not alarm, however many they are.
	Well bool
	// Guest is the VMID of the open guest, 0 for none. Disk is the dataset of the open disk, ""
	// for none.
	Guest int
	Disk  string
	// Page is the number of the page of the table, counted from 1.
	Page int
}

// sorts lists the possible orders of the guests, the default order first.
var sorts = []string{"worst", "guest", "age", "newest"}

const longestText = 200

func parseQuery(v url.Values) query {
	number := func(key string) int {
		n, err := strconv.Atoi(v.Get(key))
		if err != nil {
			return 0
		}
		return max(0, n)
	}
	clip := func(key string) string {
		text := strings.TrimSpace(v.Get(key))
		return strings.ToValidUTF8(text[:min(len(text), longestText)], "")
	}
	q := query{
		State: clip("state"), Verdict: clip("verdict"), Pool: clip("pool"), Text: clip("q"),
		Sort: v.Get("sort"), Well: v.Get("ok") == "show", Guest: number("guest"), Disk: clip("disk"), Page: max(1, number("page")),
	}
	if !slices.Contains(sorts, q.Sort) {
		q.Sort = sorts[0]
	}
	return q
}

// link returns the page's URL for this query.
func (q query) link() string {
	v := url.Values{}
	set := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	set("state", q.State)
	set("verdict", q.Verdict)
	set("pool", q.Pool)
	set("q", q.Text)
	set("disk", q.Disk)
	if q.Sort != sorts[0] {
		v.Set("sort", q.Sort)
	}
	if q.Well {
		v.Set("ok", "show")
	}
	if q.Guest > 0 {
		v.Set("guest", strconv.Itoa(q.Guest))
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	return "?" + v.Encode()
}

// changedURL returns the page's URL for a changed query, with page 1 of the table.
func (q query) changedURL(change func(*query)) string {
	q.Page = 1
	change(&q)
	return q.link()
}

// Filtered reports whether the query leaves out any disks.
func (q query) Filtered() bool {
	return q.State != "" || q.Verdict != "" || q.Pool != "" || q.Text != ""
}
