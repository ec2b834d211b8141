package drill

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// cloneName matches the name of a clone below its pool.
var cloneName = regexp.MustCompile(`^` + zfs.DrillRoot + `/g([1-9]\d{0,8})/d-\d{1,4}$`)

// Left returns the clones that earlier drills left, of those guests for which the function ended
// is true: no process is at work for a drill of the guest. Left never returns a dataset that is
// not a clone, or that has no mark of a drill of its guest. Snapshots that another program made of a
// clone come before the clone, which cannot be destroyed while it has any. Snapshots that are older
// than the clone are of the guest's disk, and came to the clone when a person promoted it.
func Left(datasets []zfs.Drilled, ended func(vmid int) bool) []string {
	var left []string
	for _, d := range datasets {
		vmid, ok := marked(d)
		if ok && d.Origin != "" && ended(vmid) {
			for _, s := range datasets {
				if strings.HasPrefix(s.Name, d.Name+"@") && s.CreateTXG > d.CreateTXG {
					left = append(left, s.Name)
				}
			}
			left = append(left, d.Name)
		}
	}
	return left
}

// marked returns the guest of a drill's clone, by the clone's name and mark. ok is false if the name
// or the mark is not that of a clone of a drill.
func marked(d zfs.Drilled) (vmid int, ok bool) {
	_, below, _ := strings.Cut(d.Name, "/")
	m := cloneName.FindStringSubmatch(below)
	if m == nil {
		return 0, false
	}
	guest, begun, _ := strings.Cut(d.Mark, " ")
	if _, err := time.Parse(time.RFC3339, begun); err != nil || guest != "g"+m[1] {
		return 0, false
	}
	vmid, err := strconv.Atoi(m[1])
	return vmid, err == nil
}
