package exporter

import (
	"slices"
	"strings"

	"snapwatch/checker"
	"snapwatch/checker/scan"
)

// readProofs reads the records of drills. If they cannot be read, the records that were read before
// count further.
func (s *Store) readProofs() (checker.Proofs, error) {
	if s.settings.Drills == "" {
		return checker.Proofs{}, nil
	}
	all := scan.LoadProofs(s.settings.Drills)
	if last := s.proofs.known(); all.Problem != "" && last != nil {
		all.Guests = last.Guests
	}
	return all, nil
}

// withProofs adds the verdicts on guests' proofs, unless the records of drills were not read yet.
func (s *Store) withProofs(r checker.Report, policy checker.Policy) checker.Report {
	if all := s.proofs.known(); all != nil {
		return r.WithProofs(policy, *all)
	}
	return r
}

var (
	proofTime = newMetric("guest_proof_timestamp_seconds",
		"When the last drill began that looked at the guest's copies and found no fault. Absent without one.", byGuest()...)
	proofDuration = newMetric("guest_proof_duration_seconds",
		"How long this drill took: a measured time until the guest can be used here. Absent without one.", byGuest()...)
	proofState = newMetric("guest_proof_state",
		"1 for the verdict on the proof that the guest's copies can be used, else 0: the same verdict that snapwatch check gives. Absent where no drill was made and none is demanded.", byGuest("state")...)
)

// proofs prints the metrics of the guests' proofs.
func (p *guestPage) proofs() {
	judged := func(g guestSeries) bool { return g.Proof != nil }
	proved := func(g guestSeries) bool { return g.Proof != nil && g.Proof.Good() != nil }
	p.printSome(proofDuration, proved, func(g *guestSeries) { p.guest(proofDuration, "", g, "", "", g.Proof.Good().Seconds) })
	p.printSome(proofTime, proved, func(g *guestSeries) { p.guest(proofTime, "", g, "", "", seconds(g.Proof.Good().At)) })
	rows := checker.ProofVerdicts()
	slices.SortFunc(rows, func(a, b checker.ProofRow) int { return strings.Compare(a.Name, b.Name) })
	p.printSome(proofState, judged, func(g *guestSeries) {
		for i := range rows {
			p.guest(proofState, "", g, `,state="`, rows[i].Name, boolValue(rows[i].Verdict == g.Proof.Verdict))
		}
	})
}
