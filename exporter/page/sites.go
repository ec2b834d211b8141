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

// maxSites is the greatest number of other hosts for which each host has a column; more hosts
// share one column.
const maxSites = 4

// cell is the answer of one asked node about a disk or guest, in one cell of the page's table.
type cell struct {
	Site string
	// Newest is the creation time of the newest snapshot on the node, zero if unknown.
	Newest time.Time
	Age    time.Duration
	// Words compares the copy on this host with the node's disk in a few words, and Title compares
	// them in a sentence.
	Words, Title string
	// State is the state of the comparison with the node.
	State checker.State
	lag   time.Duration
}

// Colour returns the colour of the cell's words, "" for no colour.
func (c cell) Colour() string {
	if c.State == checker.OK {
		return ""
	}
	return c.State.Colour()
}

// Blank reports whether the node's answer says nothing about the disk or guest.
func (c cell) Blank() bool { return c.Newest.IsZero() && c.Words == "" }

// siteName returns the name of a node for people, without the exporter's usual port.
func siteName(node string) string { return strings.TrimSuffix(node, ":10191") }

// siteHeads returns the headings of the columns of asked nodes.
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

// columns returns, by column of the table, the cells of the nodes that share the column.
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

// cellsOf returns a cell for each asked node with its answer about a disk.
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
			c.setNewest(e.Newest.Creation, r.Now)
		}
		cells = append(cells, c)
	}
	return cells
}

// setNewest stores in the cell the creation time and the age of the newest snapshot on the
// node.
func (c *cell) setNewest(newest, now time.Time) { c.Newest, c.Age = newest, max(0, now.Sub(newest)) }

// silent returns the cell of a node that said nothing about a disk.
func silent(n checker.NodeAnswer) cell {
	c := cell{Site: siteName(n.Node)}
	if n.Failure != "" {
		c.Words, c.Title, c.State = "no answer", n.Failure, checker.Unknown
	}
	return c
}

// say compares a disk with the node's answer, and sets the words and the state of the cell to the
// result.
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
				c.State = checker.Critical // the facts on this host alone give no alarm
			}
		case compared.Lag > 0 && slices.Contains([]checker.Outcome{checker.InSync, checker.Lagging}, compared.Outcome):
			c.Words, c.Title = text.Age(compared.Lag)+" behind", compared.Reason+"; counted from the first snapshot that has not arrived"
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

// blind reports whether only the owner's answer shows that the guest is running: the
// newest snapshot of the copy here is a _stopped one.
func blind(d *checker.Result) bool {
	return d.Compared != nil && d.Compared.Alive && d.Suffix() == "stopped"
}

// cells returns a cell for each asked node, with the node's worst answer about the guest's disks.
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

// lackingCells returns a cell for each asked node with its answer about a disk that this host
// lacks.
func (g guest) lackingCells(dataset string, r checker.Report) []cell {
	var all []cell
	for _, n := range r.Nodes {
		c := silent(n)
		for _, owned := range n.Guests {
			at := slices.IndexFunc(owned.Disks, func(d checker.OwnedDisk) bool { return d.Dataset == dataset })
			if owned.VMID == g.VMID && at >= 0 {
				c.Words, c.Title, c.State = "not here", dataset, g.State
				c.setNewest(owned.Disks[at].Newest, r.Now)
			}
		}
		all = append(all, c)
	}
	return all
}

// moreTelling reports whether the page must show the cell c instead of `than`, a cell of the same
// node, because c has a worse state, a greater lag or an older snapshot.
func moreTelling(c, than cell) bool {
	if c.Blank() || than.Blank() {
		return !c.Blank()
	}
	by := cmp.Or(worse(c.State, than.State), cmp.Compare(than.lag, c.lag))
	return by < 0 || by == 0 && c.Newest.Before(than.Newest)
}
