package exporter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// maxComparisons is the greatest number of comparisons that run at the same time. No more large
// requests than maxComparisons are in memory at the same time.
const maxComparisons = 2

// smallRequest is the greatest size in bytes of a comparison request that is read without waiting
// for the end of other comparisons.
const smallRequest = 64 << 10

// compareAPI returns the handler that answers a [checker.CompareRequest]. Reading the pools may
// take at most half of the request's timeout, so that time is left to look up names if a pool
// hangs.
func compareAPI(store *Store) http.Handler {
	large := make(chan struct{}, maxComparisons)
	together := comparisons{compare: store.compare, turns: make(chan struct{}, maxComparisons)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The content type application/json is required, because a foreign web page in a user's
		// browser cannot send this content type to the exporter.
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "the body must be application/json", http.StatusUnsupportedMediaType)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeoutOf(r))
		defer cancel()
		if r.ContentLength < 0 || r.ContentLength > smallRequest {
			select {
			case large <- struct{}{}:
				defer func() { <-large }()
			case <-r.Context().Done():
				return
			case <-time.After(timeoutOf(r) / 4):
				tellBusy(w)
				return
			}
		}
		request, err := checker.ReadCompareRequest(http.MaxBytesReader(w, r.Body, checker.MaxRequest))
		if err != nil {
			status := http.StatusBadRequest
			if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), status)
			return
		}
		reading, stop := context.WithTimeout(ctx, timeoutOf(r)/2)
		defer stop()
		store.Refresh(reading)
		deadline, _ := ctx.Deadline()
		answer, err := together.answer(r.Context(), deadline, request)
		switch {
		case errors.Is(err, errBusy):
			tellBusy(w)
			return
		case err != nil:
			store.settings.Log.Error("not compared", "err", err)
			http.Error(w, "the comparison failed, see the log", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// Encode fails only if the client has disconnected, so its error is ignored.
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func tellBusy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, fmt.Sprintf("this node already answers %d other comparisons: ask again later, or not all at the same time", maxComparisons), http.StatusServiceUnavailable)
}

// compare answers a request from the last scans of the pools. compare looks up the requested
// snapshots that are not the newest of their disks here.
func (s *Store) compare(ctx context.Context, request checker.CompareRequest) checker.CompareAnswer {
	report := s.Report()
	answer := checker.NewCompareAnswer(report.Now)
	owners, err := s.owners(ctx)
	answer.Unregistered = err == nil && s.snapMissing(owners)
	here := look(report)
	names := wanted{}
	namesakes := map[int][]checker.Result{} // by index of the requested disk: disks of the same name in other datasets
	for i, asked := range request.Disks {
		d := s.guest(asked, owners, err)
		is, same, problem := here.meant(asked, s.covers)
		switch {
		case problem != "":
			d.Problem = problem
		case is == nil:
			namesakes[i] = same
			for _, k := range same {
				names.add(k.Dataset, asked.Newest)
			}
		default:
			s.describe(&d, *is, here, asked.Newest)
			if d.Problem == "" && d.Presence == checker.PresenceUnknown {
				names.add(d.Dataset, asked.Newest)
			}
		}
		answer.Disks = append(answer.Disks, d)
	}
	found, problems := s.lookUp(ctx, names)
	for i := range answer.Disks {
		d, asked := &answer.Disks[i], request.Disks[i].Newest
		if same, moved := namesakes[i]; moved {
			s.renamed(d, same, here, asked, found, problems)
		}
		if d.Problem != "" || d.Gone || d.Presence != checker.PresenceUnknown || asked.Name == "" {
			continue
		}
		if d.Problem = problems[zfs.Pool(d.Dataset)]; d.Problem == "" {
			h := found[d.Dataset+"@"+asked.Name]
			d.Presence, d.PresenceGUID, d.Problem = h.Presence, h.GUID, h.Problem
		}
	}
	s.tellSince(ctx, request, answer, found)
	living := s.settings.Living.lookUpOnce()
	tellLiving(request, answer, living)
	switch {
	case err != nil && s.settings.Owners != nil && !s.settings.NoGuests:
		answer.GuestsProblem = err.Error()
	case err == nil:
		_ = s.lastRun() // reads the names of guests, if possible
		answer.Guests = s.ownGuests(report, owners, living)
		for _, p := range report.Pools {
			if p.ReadAt.IsZero() {
				answer.Unread = append(answer.Unread, p.Name)
			}
		}
	}
	return answer
}

// wanted has, by pool, the full names of the snapshots to look up, each name once.
type wanted map[string]map[string]bool

func (w wanted) add(dataset string, asked checker.SnapshotRef) {
	if asked.Name == "" {
		return
	}
	pool := zfs.Pool(dataset)
	if w[pool] == nil {
		w[pool] = map[string]bool{}
	}
	w[pool][dataset+"@"+asked.Name] = true
}

// If the dataset named in the request does not exist, renamed looks for the disk in another dataset
// and writes the result to the answer d. A disk with the same name in another dataset is the
// renamed disk if the disk has, by guid, the asker's newest snapshot. If no disk has the asker's
// newest snapshot, the requested disk is gone.
func (s *Store) renamed(d *checker.ComparedDisk, same []checker.Result, here view, asked checker.SnapshotRef, found map[string]scan.Lookup, problems map[string]string) {
	for _, k := range same {
		if d.Problem = cmp.Or(problems[zfs.Pool(k.Dataset)], found[k.Dataset+"@"+asked.Name].Problem); d.Problem != "" {
			return
		}
		if h := found[k.Dataset+"@"+asked.Name]; asked.Name != "" && h.GUID != 0 && h.GUID == asked.GUID {
			s.describe(d, k, here, asked)
			return
		}
	}
	if here.problem != "" {
		d.Problem = "not every pool could be read, and the disk may be in one of these: " + here.problem
		return
	}
	vmid, _, _ := zfs.ParseDiskName(d.Disk)
	d.Gone, d.Template = true, here.templates[vmid]
}

// lookUp looks up snapshots by name in all pools at the same time.
func (s *Store) lookUp(ctx context.Context, wanted wanted) (all map[string]scan.Lookup, problems map[string]string) {
	all, problems = map[string]scan.Lookup{}, map[string]string{}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for pool, names := range wanted {
		asking.Go(func() {
			found, err := s.settings.Scanner.Lookup(ctx, pool, slices.Sorted(maps.Keys(names)))
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

// guest returns an answer about a disk that says whether this node owns the disk's guest.
func (s *Store) guest(asked checker.CompareDisk, owners pve.Owners, ownersErr error) checker.ComparedDisk {
	vmid, _, _ := zfs.ParseDiskName(asked.Disk)
	d := checker.ComparedDisk{Disk: asked.Disk, Owned: ownership(owners, ownersErr, vmid), Replica: s.config().Role == "replica"}
	if ownersErr != nil {
		d.OwnedProblem = ownersErr.Error()
	} else if node := owners.Of[vmid]; node != owners.Node {
		d.ConfiguredOn = node
	}
	return d
}

// describe adds to the answer d the state of the requested disk on this host.
func (s *Store) describe(d *checker.ComparedDisk, is checker.Result, here view, asked checker.SnapshotRef) {
	pool := zfs.Pool(is.Dataset)
	d.Dataset, d.GUID, d.Problem = is.Dataset, is.GUID, here.problems[pool]
	if at, counts := here.counts[pool]; counts {
		d.ReadAt, d.Problem = &at, ""
	}
	if d.Problem != "" && is.ReadAt.After(here.readAt[pool]) && is.Verdict != checker.Unreadable {
		d.ReadAt, d.Problem = &is.ReadAt, "" // only other disks of the pool could not be read
	}
	d.Replica = checker.IsReplica(s.config(), is.Dataset)
	if d.Problem == "" {
		d.Problem = cmp.Or(is.Disk.Problem, is.Unlisted)
	}
	d.Excluded = s.excluded(is)
	if is.Newest == nil {
		return
	}
	ref := checker.NewSnapshotRef(*is.Newest)
	d.Newest = &ref
	if d.Problem == "" && ref.Name == asked.Name {
		d.Presence, d.PresenceGUID = checker.AsSnapshot, ref.GUID
	}
}

// excluded returns why snap takes no snapshots of the disk on this host, "" if snap
// takes snapshots of the disk.
func (s *Store) excluded(is checker.Result) string {
	switch {
	case is.NoSnap.Excludes():
		return zfs.LabelNoSnap + "=" + is.NoSnap.Value
	case is.Template:
		return "a template's disk"
	}
	return s.config().IgnoredFor(is.Dataset, is.VMID)
}

// covers reports whether the exporter searches a dataset for disks. If the argument
// dataset is "", covers reports whether the exporter searches all datasets.
func (s *Store) covers(dataset string) bool {
	if dataset == "" {
		return len(s.config().Datasets) == 0
	}
	return s.targets().Covers(dataset)
}
