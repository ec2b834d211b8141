package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
)

// ProofVerdict is the verdict on the proof that a guest's copies can be used. It never changes the
// verdict on the guest. The first verdict that applies counts.
type ProofVerdict int

// The verdicts on a guest's proof, in precedence.
const (
	ProofFailed ProofVerdict = iota
	ProofOld
	ProofFresh
	ProofNone
)

func (v ProofVerdict) String() string { return proofTable[v].Name }

// ProofRow is one line of the table of verdicts on proofs.
type ProofRow struct {
	Verdict ProofVerdict
	Name    string
	State   State
	// Meaning explains the verdict on a proof to a person.
	Meaning string
}

var proofTable = [...]ProofRow{
	{ProofFailed, "failed", Warning,
		"a drill found a fault in the copy, and no later drill that looked at the same found none; a drill that could not look, because a key was not loaded, does not count"},
	{ProofOld, "old", Warning,
		"the last good drill is older than max_proof_age, or from the future; without a good drill the age counts from the creation of the guest's oldest dataset here. Only for a guest with a restore point, and only if max_proof_age is set"},
	{ProofFresh, "fresh", OK,
		"a drill looked at the copy, and no fault is open"},
	{ProofNone, "none", OK,
		"no drill has looked at the copy, and max_proof_age demands none yet"},
}

// ProofVerdicts returns the table of verdicts on proofs, ordered by precedence.
func ProofVerdicts() []ProofRow { return slices.Clone(proofTable[:]) }

// GuestProof is the verdict on the proof of a guest.
type GuestProof struct {
	Verdict ProofVerdict
	State   State
	// Reason explains the verdict in one line.
	Reason string
	// Record is the record of the guest's drills, nil if there is none.
	Record *Proof
	// Limit is the greatest age of the last good drill, without a range if no proof is demanded.
	Limit Limit
}

// Good returns the last drill that looked at the copies and found no fault, nil if there was none.
func (g GuestProof) Good() *Drill {
	if g.Record == nil {
		return nil
	}
	return g.Record.Good
}

// judgeProof returns the verdict on the proof of a guest at the time now. record is nil if no drill
// of the guest counts. arrived is the time at which the guest's first disk was made here, as far as
// it is known. others are the guest's datasets that a drill does not look at now.
func judgeProof(record *Proof, limit Limit, arrived, now time.Time, others []string) *GuestProof {
	g := &GuestProof{Record: record, Limit: limit}
	// An age is negative if a clock was ahead. Then the age is unknown and exceeds the limit.
	age := func(t time.Time) time.Duration {
		if ahead := t.Sub(now); 0 < ahead && ahead <= clockSlack {
			return 0
		}
		return now.Sub(t)
	}
	switch good := g.Good(); {
	case record != nil && len(record.Open) > 0:
		var faults []string
		for _, f := range record.Open {
			faults = append(faults, f.words(record.VMID, age(f.At), others))
		}
		g.become(ProofFailed, "%s", strings.Join(faults, "; "))
		return g
	case good != nil && limit.exceeded(age(good.At)):
		g.become(ProofOld, "the last good drill was %s (%s)", when(age(good.At)), limit)
	case good != nil:
		g.become(ProofFresh, "%s %s in %s, as of %s", good.Reach, when(age(good.At)), good.work(), Point{Time: good.Point}.Words())
	case !arrived.IsZero() && limit.exceeded(age(arrived)):
		g.become(ProofOld, "no drill has proved it since it arrived here, %s (%s)", when(age(arrived)), limit)
	default:
		g.become(ProofNone, "no drill has proved it")
	}
	if record != nil && record.Last.Reach == ReachedNothing {
		g.Reason += fmt.Sprintf("; the last drill, %s, could not look: %s", when(age(record.Last.At)), strings.Join(record.Last.Remarks, "; "))
	}
	return g
}

func (g *GuestProof) become(v ProofVerdict, format string, args ...any) {
	g.Verdict, g.State, g.Reason = v, proofTable[v].State, fmt.Sprintf(format, args...)
}

func when(age time.Duration) string {
	if age < 0 {
		return "at an unknown time, because a clock was ahead by " + text.Age(-age)
	}
	return text.Age(age) + " ago"
}

// WithProofs returns the report with the verdicts on the proofs of its guests. Each proof that
// alarms adds a note. A guest that is excluded, or whose disks are this host's own, gets no verdict:
// nobody can prove its copies.
func (r Report) WithProofs(policy Policy, all Proofs) Report {
	r.Notes = slices.Clip(r.Notes)
	if r.proofProblem = all.Problem; all.Problem != "" && r.filter.None() {
		r.Notes = append(r.Notes, Note{State: Warning, Text: "the record of drills cannot be read: " + all.Problem, Subject: "about the record of drills", kind: "unreadable", whole: true})
	}
	if len(all.Guests) == 0 && !policy.demandsProofs() {
		return r
	}
	disks := map[string]*Disk{}
	for i := range r.Disks {
		disks[r.Disks[i].Dataset] = &r.Disks[i].Disk
	}
	r.Guests = slices.Clone(r.Guests)
	for i := range r.Guests {
		g := &r.Guests[i]
		limit, arrived, copied := policy.proofOf(g, disks)
		record := all.of(g, r.Guests)
		if !copied || record == nil && all.Problem != "" {
			continue
		}
		var here []*Disk
		for _, dataset := range slices.Concat(g.Disks, g.Others) {
			here = append(here, disks[dataset])
		}
		g.Proof = judgeProof(record.Since(firstMade(here, r.Now)), limit, arrived, r.Now, g.Others)
		if g.Proof.State != OK {
			about := Guest{VMID: g.VMID, Cluster: g.Cluster}.Number()
			text := fmt.Sprintf("guest %s: proof %s: %s", g.Number(), g.Proof.Verdict, g.Proof.Reason)
			if g.Proof.Verdict == ProofOld {
				text += fmt.Sprintf(": snapwatch drill %d", g.VMID)
			}
			r.Notes = append(r.Notes, Note{
				State: g.Proof.State, Text: text,
				Subject: "about the proof of guest " + about, kind: g.Proof.Verdict.String(), proofOf: g.VMID,
			})
		}
	}
	return r
}

// of returns the record of a guest, nil if there is none. If the guest inherits a record that may
// also be another guest's, only the faults in it count.
func (p Proofs) of(g *Guest, guests []Guest) *Proof {
	record, own := p.Find(g.Cluster, g.VMID, slices.Concat(g.Disks, g.Others))
	if record == nil || own || !slices.ContainsFunc(guests, func(o Guest) bool { return o.VMID == g.VMID && o.Cluster != g.Cluster }) {
		return record
	}
	if len(record.Open) == 0 {
		return nil
	}
	record.Good = nil
	return record
}

// demandsProofs reports whether the policy has a limit for the age of any proof.
func (p *Policy) demandsProofs() bool {
	if p.MaxProofAge.Range != nil {
		return true
	}
	for _, o := range p.Overrides {
		if o.MaxProofAge > 0 {
			return true
		}
	}
	return false
}

// firstMade returns the time at which the first of a guest's datasets was made here. It returns zero if
// a dataset's time is not known, because the dataset cannot be read or a clock was ahead.
func firstMade(disks []*Disk, now time.Time) (first time.Time) {
	for _, d := range disks {
		if d.Created.IsZero() || d.Created.After(now) {
			return time.Time{}
		}
		if first.IsZero() || d.Created.Before(first) {
			first = d.Created
		}
	}
	return first
}

// proofOf returns the limit for the age of a guest's proof, and the time at which the first of the
// guest's disks was made here. Of several limits the shortest counts. A guest that has no restore
// point, as far as it can be read, has no limit. The result copied is false if nothing here can be
// proved to be a copy of the guest.
func (p *Policy) proofOf(g *Guest, disks map[string]*Disk) (limit Limit, arrived time.Time, copied bool) {
	needed := g.Point != nil || g.Verdict == GuestUnreadable
	for _, dataset := range g.Disks {
		d := disks[dataset]
		copied = copied || p.IsOwn == nil || !p.IsOwn(d)
		if l := p.maxProofAge(d); l.Range != nil && needed && (limit.Range == nil || l.Range.End < limit.Range.End) {
			limit = l
		}
		if !d.Created.IsZero() && (arrived.IsZero() || d.Created.Before(arrived)) {
			arrived = d.Created
		}
	}
	return limit, arrived, copied && g.Verdict != GuestExcluded
}

// badProofs counts the guests whose proof alarms.
func badProofs(r Report) []cause {
	failed, old, _ := r.CountProofs()
	var causes []cause
	if failed > 0 {
		causes = append(causes, cause{proofTable[ProofFailed].State, text.Count(failed, "guest") + " failed in a drill"})
	}
	if old > 0 {
		causes = append(causes, cause{proofTable[ProofOld].State, text.Count(old, "guest") + " without a recent proof"})
	}
	return causes
}

// CountProofs returns the number of guests whose proof has the verdicts failed and old. judged is
// false if no proof was judged.
func (r Report) CountProofs() (failed, old int, judged bool) {
	for i := range r.Guests {
		p := r.Guests[i].Proof
		if p == nil {
			continue
		}
		judged = true
		switch p.Verdict {
		case ProofFailed:
			failed++
		case ProofOld:
			old++
		}
	}
	return failed, old, judged
}

// AboutProof reports whether the note is about the proof of a guest.
func (n Note) AboutProof() bool { return n.proofOf != 0 }
