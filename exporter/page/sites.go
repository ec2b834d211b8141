package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// maxSites is how many sites have a column each; more share one.
const maxSites = 4

// cell is what a site that was asked has of a disk, or of a guest.
type cell struct {
	Site string
	// Newest is when its newest snapshot was made, zero where none is known.
	Newest time.Time
	Age    time.Duration
	// Words say how the copy here stands to it, Title the same in a sentence.
	Words, Title string
	// State is how much that alarms.
	State checker.State
	lag   time.Duration
}

// Colour is that of the words, "" for none.
func (c cell) Colour() string {
	if c.State == checker.OK {
		return ""
	}
	return c.State.Colour()
}

// Blank reports whether the site says nothing.
func (c cell) Blank() bool { return c.Newest.IsZero() && c.Words == "" }

// siteName is a node for people: its host, without the port that all have.
func siteName(node string) string { return strings.TrimSuffix(node, ":10191") }

// siteHeads are the heads of the sites' columns.
func siteHeads(nodes []checker.NodeAnswer) []string {
	if len(nodes) > maxSites {
		return []string{"Other sites"}
	}
	var heads []string
	for _, n := range nodes {
		heads = append(heads, "Age on "+siteName(n.Node))
	}
	return heads
}

// columns puts the cells of all sites into the columns that there are.
func columns(cells []cell) [][]cell {
	if len(cells) > maxSites {
		return [][]cell{slices.DeleteFunc(cells, cell.Blank)}
	}
	var all [][]cell
	for _, c := range cells {
		all = append(all, []cell{c})
	}
	return all
}

// cellsOf are what the sites have of a disk.
func cellsOf(d *checker.Result, r checker.Report) []cell {
	var cells []cell
	sites := checker.Explain(*d, d.Evidence).Sites
	for _, n := range r.Nodes {
		at := slices.IndexFunc(d.Evidence, func(e checker.Evidence) bool { return e.Node == n.Node })
		if at < 0 {
			cells = append(cells, silent(n))
			continue
		}
		c := cell{Site: siteName(n.Node), Title: sites[at].What}
		c.say(d, d.Evidence[at])
		if e := d.Evidence[at]; e.Newest != nil {
			c.is(e.Newest.Creation, r.Now)
		}
		cells = append(cells, c)
	}
	return cells
}

// is sets when the site's newest snapshot was made.
func (c *cell) is(newest, now time.Time) { c.Newest, c.Age = newest, max(0, now.Sub(newest)) }

// silent is the cell of a site that said nothing of a disk.
func silent(n checker.NodeAnswer) cell {
	c := cell{Site: siteName(n.Node)}
	if n.Failure != "" {
		c.Words, c.Title, c.State = "no answer", n.Failure, checker.Unknown
	}
	return c
}

// say says how a disk stands to what a node has of it.
func (c *cell) say(d *checker.Result, e checker.Evidence) {
	compared := d.Compared
	switch {
	case compared != nil && compared.Owner == e.Node:
		c.Words, c.Title, c.State, c.lag = compared.Outcome.String(), compared.Reason, compared.State, compared.Lag
		switch {
		case blind(d):
			c.Words, c.State = fmt.Sprintf("runs there, nothing new for %s", text.Age(compared.Lag)), d.State
			if e.Newest != nil && e.Newest.GUID != d.Newest.GUID {
				c.Words = fmt.Sprintf("runs there, %s behind", text.Age(compared.Lag))
			}
			if d.State != checker.OK {
				c.State = checker.Critical // silence was all that a look at this host alone gave
			}
		case compared.Lag > 0 && slices.Contains([]checker.Outcome{checker.InSync, checker.Lagging}, compared.Outcome):
			c.Words = text.Age(compared.Lag) + " behind"
		case compared.Outcome == checker.NotCompared:
			c.Words = ""
		}
	case e.Failure != "":
		c.Words, c.State = "no answer", checker.Unknown
	case e.Replica:
		c.Words = "a copy, too"
	case e.Owned == checker.OwnershipUnknown:
		c.Words, c.State = "not known", checker.Unknown
	}
}

// blind reports whether nothing here says that the guest lives, and its owner does.
func blind(d *checker.Result) bool {
	return d.Compared != nil && d.Compared.Alive && d.Suffix() == "stopped"
}

// cells are what the sites have of the guest: of each what is worst.
func (g guest) cells(r checker.Report) []cell {
	var all []cell
	for _, n := range r.Nodes {
		all = append(all, silent(n))
	}
	for _, d := range g.Here {
		if !g.serves(d) {
			continue
		}
		for at, c := range cellsOf(d, r) {
			if moreTelling(c, all[at]) {
				all[at] = c
			}
		}
	}
	for _, lacking := range g.Lacking {
		for at, c := range g.lackingCells(lacking, r) {
			if moreTelling(c, all[at]) {
				all[at] = c
			}
		}
	}
	return all
}

// lackingCells are what the sites have of a disk that is not here.
func (g guest) lackingCells(dataset string, r checker.Report) []cell {
	var all []cell
	for _, n := range r.Nodes {
		c := silent(n)
		for _, owned := range n.Guests {
			at := slices.IndexFunc(owned.Disks, func(d checker.OwnedDisk) bool { return d.Dataset == dataset })
			if owned.VMID == g.VMID && at >= 0 {
				c.Words, c.Title, c.State = "not here", dataset, g.State
				c.is(owned.Disks[at].Newest, r.Now)
			}
		}
		all = append(all, c)
	}
	return all
}

// moreTelling reports whether a cell says more than another one: what alarms more, lags more or
// is older.
func moreTelling(c, than cell) bool {
	if c.Blank() || than.Blank() {
		return !c.Blank()
	}
	by := cmp.Or(worse(c.State, than.State), cmp.Compare(than.lag, c.lag))
	return by < 0 || by == 0 && c.Newest.Before(than.Newest)
}
