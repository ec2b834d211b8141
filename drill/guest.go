package drill

import (
	"cmp"
	"fmt"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Candidate returns the guest of an explanation for a drill. why is the reason why no drill of the
// guest is tried, "" if one can be tried. v describes the datasets of the guest's disks.
func Candidate(e checker.GuestExplanation, v checker.Volumes) (g Guest, why string) {
	switch {
	case e.Own:
		return g, "it is configured on this host, so its disks are no copies"
	case e.Verdict == checker.GuestExcluded, len(e.Start) == 0 && e.Reason != "":
		return g, e.Reason
	case len(e.Start) == 0:
		return g, "its disks have no restore point here"
	}
	g = Guest{Cluster: e.Cluster, VMID: e.VMID, Name: e.Number(), Point: e.Point.Time, Arrived: e.Arrived, Others: e.Others}
	for _, d := range e.Disks {
		volume, known := v.Found[d.Dataset]
		if problem := v.Problems[zfs.Pool(d.Dataset)]; problem != "" || !known {
			return Guest{}, fmt.Sprintf("it is unknown whether the key of %s is loaded: %s", d.Dataset, cmp.Or(problem, "it is gone"))
		}
		disk := Disk{Dataset: d.Dataset, Filesystem: strings.HasPrefix(d.GuestID(), "lxc/"), At: *d.At}
		if volume.Locked {
			disk.EncryptionRoot = volume.EncryptionRoot
		}
		disk.IsOwners = d.Compared != nil && d.Compared.Proven && d.At.GUID == d.Newest.GUID
		g.Disks = append(g.Disks, disk)
	}
	return g, ""
}

// Datasets returns the datasets of the guest's disks.
func (g Guest) Datasets() []string {
	var datasets []string
	for _, d := range g.Disks {
		datasets = append(datasets, d.Dataset)
	}
	return datasets
}
