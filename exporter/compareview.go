package exporter

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// view is the report by what is asked for.
type view struct {
	byName map[string][]checker.Result
	// templates are the guests that have a template's disk.
	templates map[int]bool
	// problems are those of the pools, by the pool's name; problem is any of them.
	problems map[string]string
	problem  string
	// counts are the times at which those pools were read whose listing is only not finished,
	// while that counts: what was there is known, but not what is not.
	counts map[string]time.Time
	// readAt are the times at which the pools with a problem were last read as a whole.
	readAt map[string]time.Time
	// lost are the problems of the pools that had a disk of that name when they were last read,
	// unread is the problem of one of which nothing is known.
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

// meant finds the disk that is asked for: the dataset of that name or, where the asker names
// none, the only disk that is called so. An origin that is named is not replaced by another
// disk of the name. Where all was read that it could be in and it is not there, is is nil,
// and same are the disks that are called so.
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
		return nil, nil, fmt.Sprintf("%s is called so, but another one may be the guest's: %s; name the origin under sources:", names[0], v.lost[asked.Disk])
	case len(same) == 1 && v.unread != "" && v.unread != v.problems[zfs.Pool(names[0])]:
		return nil, nil, fmt.Sprintf("%s is called so, but another one may be the guest's: %s; name the origin under sources:", names[0], v.unread)
	case len(same) == 1:
		return &same[0], nil, ""
	}
	return nil, nil, fmt.Sprintf("%d disks are called %s (%s); name the origin under sources:", len(same), asked.Disk, strings.Join(names, ", "))
}
