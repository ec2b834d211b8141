package exporter

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// view is an index of a report, in which comparisons look up disks and pools.
type view struct {
	byName map[string][]checker.Result
	// templates contains the VMIDs of guests that have a template's disk.
	templates map[int]bool
	// problems has, by pool, the problem of each pool that has a problem. problem is the problem of
	// one pool in problems, "" if no pool has a problem.
	problems map[string]string
	problem  string
	// For each pool with an unfinished scan, counts has the time of the pool's last complete scan.
	// The last complete scan still proves that a disk exists, but not that a disk is absent.
	counts map[string]time.Time
	// readAt contains, for pools with a problem, the time of the last complete scan.
	readAt map[string]time.Time
	// lost contains, by the disk's name, the problem of the pool in which the last scan found the
	// disk. unread is the problem of a pool that was never read.
	lost   map[string]string
	unread string
}

func look(r checker.Report) view {
	v := view{byName: map[string][]checker.Result{}, templates: map[int]bool{}, problems: map[string]string{}, counts: map[string]time.Time{}, readAt: map[string]time.Time{}, lost: map[string]string{}}
	for _, p := range r.Pools {
		if p.Problem == "" {
			continue
		}
		v.problems[p.Name], v.problem, v.readAt[p.Name] = p.Problem, p.Problem, p.ReadAt
		if p.Unfinished && p.Verdict != checker.PoolUnreadable {
			v.counts[p.Name] = p.ReadAt
		}
		if p.ReadAt.IsZero() && len(p.Disks) == 0 {
			v.unread = p.Problem
		}
	}
	for _, d := range r.Disks {
		if problem := v.problems[zfs.Pool(d.Dataset)]; d.Gone && problem != "" {
			v.lost[d.Name()] = problem
		}
		if !d.Gone {
			v.byName[d.Name()] = append(v.byName[d.Name()], d)
			if d.Template {
				v.templates[d.VMID] = true
			}
		}
	}
	return v
}

// meant returns the disk to which a request refers: the dataset named in the request, or without a
// dataset the only disk with the requested name. If the request names a dataset, meant never
// returns a disk in a different dataset. If meant returns neither a disk nor a problem, the
// requested disk is absent, and the result `same` contains the disks with the requested name.
func (v view) meant(asked checker.CompareDisk, covers func(dataset string) bool) (is *checker.Result, same []checker.Result, problem string) {
	same = v.byName[asked.Disk]
	var names []string
	for i := range same {
		if same[i].Dataset == asked.Dataset {
			return &same[i], nil, ""
		}
		names = append(names, same[i].Dataset)
	}
	switch pool := zfs.Pool(asked.Dataset); {
	case asked.Dataset != "" && v.problems[pool] != "":
		return nil, nil, v.problems[pool]
	case asked.Dataset != "" && !covers(asked.Dataset):
		return nil, nil, asked.Dataset + " is not in what this exporter reads: is its pool imported, and within datasets:?"
	case asked.Dataset != "":
		return nil, same, ""
	case len(same) == 0 && v.problem != "":
		return nil, nil, "not every pool could be read: " + v.problem
	case len(same) == 0 && !covers(""):
		return nil, nil, "there is no disk " + asked.Disk + " in the datasets: that this exporter reads"
	case len(same) == 0:
		return nil, nil, ""
	case len(same) == 1 && v.lost[asked.Disk] != "":
		return nil, nil, fmt.Sprintf("%s has this name, but the guest's disk may be another one: %s; name the origin under sources:", names[0], v.lost[asked.Disk])
	case len(same) == 1 && v.unread != "" && v.unread != v.problems[zfs.Pool(names[0])]:
		return nil, nil, fmt.Sprintf("%s has this name, but the guest's disk may be another one: %s; name the origin under sources:", names[0], v.unread)
	case len(same) == 1:
		return &same[0], nil, ""
	}
	return nil, nil, fmt.Sprintf("%d disks are called %s (%s); name the origin under sources:", len(same), asked.Disk, strings.Join(names, ", "))
}
