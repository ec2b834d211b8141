package exporter

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// view indexes a report for comparisons.
type view struct {
	byName map[string][]checker.Result
	// templates has the guests with a disk of a template.
	templates map[int]bool
	// problems has the problems of the pools by name; problem is one of them.
	problems map[string]string
	problem  string
	// counts has the times of the last complete readings of pools whose listing is under way.
	// Such a reading still proves that a disk exists, but not that a disk is absent.
	counts map[string]time.Time
	// readAt has the times of the last complete readings of the pools with a problem.
	readAt map[string]time.Time
	// lost has the problems of the pools that had a disk when they were last read, by the disk's
	// name. unread is the problem of a pool that was never read.
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

// meant returns the disk that is asked for: the dataset named in the request, or without a
// dataset the only disk of that name. Another disk of the same name never replaces a named
// dataset. If is is nil and problem is "", the disk is absent, and same has the disks of that
// name.
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
