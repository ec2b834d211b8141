package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// compareAPI answers a [checker.CompareRequest]. Half of its time is for reading the
// pools, so that one that hangs leaves time to look names up in the others.
func compareAPI(store *Store) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page in a browser can send anything but this type to another site.
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "the body must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		request, err := checker.ReadCompareRequest(http.MaxBytesReader(w, r.Body, checker.MaxBody))
		if err != nil {
			status := http.StatusBadRequest
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), status)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeoutOf(r))
		defer cancel()
		reading, stop := context.WithTimeout(ctx, timeoutOf(r)/2)
		defer stop()
		store.Refresh(reading)
		answer := store.compare(ctx, request)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// An error here is a client that has gone.
		_ = json.NewEncoder(w).Encode(answer)
	})
}

// compare answers from what was last read, and looks up the names that are asked for
// and are not the newest here.
func (s *Store) compare(ctx context.Context, request checker.CompareRequest) checker.CompareAnswer {
	report := s.Report()
	answer := checker.NewCompareAnswer(report.Now)
	owners, err := s.owners(ctx)
	here := look(report)
	wanted := map[string][]string{} // full names by pool
	for _, asked := range request.Disks {
		d := s.own(asked, here, owners, err)
		switch {
		case d.Problem != "":
		case d.Newest != nil && d.Newest.Name == asked.Newest.Name:
			d.Presence, d.PresenceGUID = checker.AsSnapshot, d.Newest.GUID
		default:
			pool := zfs.Pool(d.Dataset)
			wanted[pool] = append(wanted[pool], d.Dataset+"@"+asked.Newest.Name)
		}
		answer.Disks = append(answer.Disks, d)
	}
	found, problems := s.lookUp(ctx, wanted)
	for i := range answer.Disks {
		d := &answer.Disks[i]
		if d.Problem != "" || d.Presence != checker.PresenceUnknown {
			continue
		}
		if d.Problem = problems[zfs.Pool(d.Dataset)]; d.Problem == "" {
			h := found[d.Dataset+"@"+request.Disks[i].Newest.Name]
			d.Presence, d.PresenceGUID = h.Presence, h.GUID
		}
	}
	s.tellSince(ctx, request, answer, found)
	return answer
}

// lookUp asks all pools at the same time.
func (s *Store) lookUp(ctx context.Context, wanted map[string][]string) (all map[string]scan.Lookup, problems map[string]string) {
	all, problems = map[string]scan.Lookup{}, map[string]string{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for pool, names := range wanted {
		asking.Go(func() {
			found, err := s.settings.Scanner.Lookup(ctx, pool, names)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems[pool] = err.Error()
			}
			for name, h := range found {
				all[name] = h
			}
		})
	}
	asking.Wait()
	return all, problems
}

// view is the report by what is asked for.
type view struct {
	byName map[string][]checker.Result
	// problems are those of the pools, by the pool's name; problem is any of them.
	problems map[string]string
	problem  string
}

func look(r checker.Report) view {
	v := view{byName: map[string][]checker.Result{}, problems: map[string]string{}}
	for _, p := range r.Pools {
		if p.Problem != "" {
			v.problems[p.Name], v.problem = p.Problem, p.Problem
		}
	}
	for _, d := range r.Disks {
		if !d.Gone {
			v.byName[d.Name()] = append(v.byName[d.Name()], d)
		}
	}
	return v
}

// own says what is known here of a disk: whether its guest is ours, and of the disk
// itself, if it is clear which one is meant.
func (s *Store) own(asked checker.CompareDisk, here view, owners pve.Owners, ownersErr error) checker.ComparedDisk {
	vmid, _, _ := zfs.ParseDiskName(asked.Disk)
	d := checker.ComparedDisk{Disk: asked.Disk, Owned: ownership(owners, ownersErr, vmid), Replica: s.settings.Config.Role == "replica"}
	if ownersErr != nil {
		d.OwnedProblem = ownersErr.Error()
	} else if node := owners.Of[vmid]; node != owners.Node {
		d.ConfiguredOn = node
	}
	is, problem := here.meant(asked)
	if problem != "" {
		d.Problem = problem
		return d
	}
	d.Dataset, d.GUID, d.Problem = is.Dataset, is.GUID, here.problems[zfs.Pool(is.Dataset)]
	d.Replica = s.isReplica(is.Dataset)
	if d.Problem == "" {
		d.Problem = is.Disk.Problem
	}
	if is.Newest != nil {
		ref := checker.NewSnapshotRef(*is.Newest)
		d.Newest = &ref
	}
	return d
}

// meant finds the disk that is asked for: the dataset of that name, or the only disk
// that is called so. Where a pool could not be read, it may be there.
func (v view) meant(asked checker.CompareDisk) (is checker.Result, problem string) {
	same := v.byName[asked.Disk]
	var names []string
	for _, k := range same {
		if k.Dataset == asked.Dataset {
			return k, ""
		}
		names = append(names, k.Dataset)
	}
	switch {
	case len(same) == 0 && v.problem != "":
		return checker.Result{}, "not every pool could be read: " + v.problem
	case len(same) == 0:
		return checker.Result{}, "there is no disk " + asked.Disk + " here"
	case len(same) == 1:
		return same[0], ""
	}
	return checker.Result{}, fmt.Sprintf("%d disks are called %s (%s); name the origin under sources:", len(same), asked.Disk, strings.Join(names, ", "))
}
