package exporter

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"snapwatch/checker"
)

// byGuest returns the names of the labels that every series about a guest has.
func byGuest(more ...string) []string { return append([]string{"origin_cluster", "vmid"}, more...) }

var (
	guestInfo = newMetric("guest_info",
		"Always 1. Its labels are the guest's id in Proxmox, and its name if known.", byGuest("id", "name")...)
	guestState = newMetric("guest_state",
		"1 for the verdict on the guest as a whole, else 0: the same verdict that snapwatch check gives.", byGuest("state")...)
	guestStatus = newMetric("guest_status",
		"What snapwatch check says of the guest as a whole: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.", byGuest()...)
	guestPoint = newMetric("guest_restore_point_timestamp_seconds",
		"The guest's restore point: the newest time of which all disks of the guest have a managed snapshot here. Absent without one.", byGuest()...)
	guestDisks = newMetric("guest_disks",
		"How many disks of the guest are here, each once (found), and how many should be (expected).", byGuest("kind")...)
)

// guestCatalogue lists the metrics about guests, sorted by name.
var guestCatalogue = []metric{guestDisks, guestInfo, proofDuration, proofState, proofTime, guestPoint, guestState, guestStatus}

// guest sends the metrics of a guest.
func (collector) guest(out sink, g checker.Guest) {
	labels := []string{g.Cluster, strconv.Itoa(g.VMID)}
	out.send(guestInfo, 1, append(labels, g.ID, g.Name)...)
	for _, row := range checker.GuestVerdicts() {
		out.send(guestState, boolValue(row.Verdict == g.Verdict), append(labels, row.Name)...)
	}
	out.send(guestStatus, float64(g.State), labels...)
	if g.Point != nil {
		out.send(guestPoint, seconds(g.Point.Created), labels...)
	}
	out.send(guestDisks, float64(g.Found()), append(labels, "found")...)
	out.send(guestDisks, float64(g.Expected()), append(labels, "expected")...)
	if g.Proof == nil {
		return
	}
	for _, row := range checker.ProofVerdicts() {
		out.send(proofState, boolValue(row.Verdict == g.Proof.Verdict), append(labels, row.Name)...)
	}
	if good := g.Proof.Good(); good != nil {
		out.send(proofTime, seconds(good.At), labels...)
		out.send(proofDuration, good.Seconds, labels...)
	}
}

// guestPage prints the metrics of [collector.guest] directly, as [textPage] does for disks,
// because client_golang is slow.
type guestPage struct {
	textPage
	guests []guestSeries
}

type guestSeries struct {
	*checker.Guest
	cluster, vmid string // the labels as text
}

// writeGuests prints the metrics of all guests in the text format.
func writeGuests(w io.Writer, guests []checker.Guest) error {
	p := guestPage{textPage: textPage{out: w, block: make([]byte, 0, 2*textBlock), text: []byte("0")}}
	for i := range guests {
		if g := &guests[i]; utf8.ValidString(g.Cluster) && utf8.ValidString(g.Name) {
			p.guests = append(p.guests, guestSeries{g, `origin_cluster="` + escape(g.Cluster) + `"`, `vmid="` + strconv.Itoa(g.VMID) + `"`})
		}
	}
	if len(p.guests) == 0 {
		return nil
	}
	order := func(a, b guestSeries) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), cmp.Compare(a.VMID, b.VMID))
	}
	slices.SortStableFunc(p.guests, order)
	p.guests = slices.CompactFunc(p.guests, func(a, b guestSeries) bool { return order(a, b) == 0 })
	p.printGuests(guestDisks, func(g *guestSeries) {
		p.guest(guestDisks, `kind="expected",`, g, "", "", float64(g.Expected()))
		p.guest(guestDisks, `kind="found",`, g, "", "", float64(g.Found()))
	})
	p.printGuests(guestInfo, func(g *guestSeries) {
		p.guest(guestInfo, `id="`+g.ID+`",name="`+escape(g.Name)+`",`, g, "", "", 1)
	})
	p.proofs()
	p.printSome(guestPoint, func(g guestSeries) bool { return g.Point != nil }, func(g *guestSeries) {
		p.guest(guestPoint, "", g, "", "", seconds(g.Point.Created))
	})
	rows := checker.GuestVerdicts()
	slices.SortFunc(rows, func(a, b checker.GuestRow) int { return strings.Compare(a.Name, b.Name) })
	p.printGuests(guestState, func(g *guestSeries) {
		for i := range rows {
			p.guest(guestState, "", g, `,state="`, rows[i].Name, boolValue(rows[i].Verdict == g.Verdict))
		}
	})
	p.printGuests(guestStatus, func(g *guestSeries) { p.guest(guestStatus, "", g, "", "", float64(g.State)) })
	p.flush()
	return p.failed
}

// printGuests prints a metric of all guests. The argument lines is a function that prints the
// lines of one guest.
func (p *guestPage) printGuests(m metric, lines func(*guestSeries)) {
	p.family(m)
	for i := range p.guests {
		lines(&p.guests[i])
	}
}

// printSome prints a metric of each guest for which the function `has` returns true. If there is no
// such guest, printSome prints nothing.
func (p *guestPage) printSome(m metric, has func(guestSeries) bool, lines func(*guestSeries)) {
	if !slices.ContainsFunc(p.guests, has) {
		return
	}
	p.printGuests(m, func(g *guestSeries) {
		if has(*g) {
			lines(g)
		}
	})
}

// guest prints one line of a guest's metric. before contains the labels that precede
// origin_cluster in the alphabet. label and value are an optional label between origin_cluster
// and vmid.
func (p *guestPage) guest(m metric, before string, g *guestSeries, label, value string, sample float64) {
	b := append(p.block, m.Name...)
	b = append(append(append(b, '{'), before...), g.cluster...)
	if label != "" {
		b = append(append(append(b, label...), value...), '"')
	}
	b = append(append(append(b, ','), g.vmid...), "} "...)
	p.block = append(append(b, p.printed(sample)...), '\n')
	if len(p.block) >= textBlock {
		p.flush()
	}
}
