package checker

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerdictsAreDocumented checks that docs/verdicts.md agrees with the tables of verdicts;
// -update writes docs/verdicts.md.
func TestVerdictsAreDocumented(t *testing.T) {
	const path = "../docs/verdicts.md"
	got := verdictsPage()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./checker -run Documented -update")
}

func verdictsPage() string {
	var b strings.Builder
	b.WriteString(`# Verdicts

Every disk has one verdict: the first in this table that applies. check, the metrics, the page and the JSON show the same
verdict. A test writes this page from the table in ` + "`checker/verdict.go`" + `.

| verdict | applies when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range Verdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Guests

Every guest on a host with copies has a verdict, too. The guest's disks are the disks here with the guest's number that come from one
cluster, without excluded and orphaned disks. The *restore point* of a guest is the newest time, as in the names of snapshots, of which all its disks
have a managed snapshot of any class; the age of the restore point counts from the first of these snapshots. A guest alarms only if its age
is beyond the limits of all its disks. Two datasets of one name count as one disk if they share a snapshot: the freshest readable dataset
counts for the guest, and each dataset has a verdict of its own.

| verdict | applies when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range GuestVerdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Proofs

The copies of a guest have a proof if a [drill](drill.md) has looked at them. The verdict on the proof is separate: it changes neither the verdict on the
guest nor that on a disk. A guest that is excluded, or whose disks are this host's own, gets none.

| verdict | applies when | state |
|---|---|---|
`)
	for _, row := range ProofVerdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", row.Name, row.Meaning, row.State)
	}
	b.WriteString(`
## Pools

A pool as a whole has a verdict, too. If several verdicts of this table apply to a pool, the pool has the verdict with the worst state, and
among equal states the first in the table. The reason names all verdicts that apply, and each verdict has an alert of its own. How often
snapwatch reads the health of a pool, and by which commands, is in [check.md](check.md#pools). ` + "`pool_ignore: [scrub]`" + ` in the
configuration leaves a verdict out: errors, degraded, scrub or full.

| verdict | applies when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range PoolVerdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Comparison with the owner

` + "`check --owners`" + ` compares each disk with the node that now owns its guest. If the verdict and the outcome of a disk have different
states, the worse state counts. In two cases, a stale disk gets another verdict. The disk becomes *orphaned* if its owner is known to have had the
disk and does not use the disk any more. The disk becomes *excluded* if its owner takes no snapshots of the disk. A disk that is unreadable,
missing, receiving or excluded is not compared. A disk that never had a snapshot is compared only with an owner that says that the disk is
gone there or gets no snapshots. The lag of a copy is the time for which the owner has had a snapshot that the replica lacks (or the
difference of the newest snapshots, if the owner does not know that time). The limits of an age also apply to the lag.

If a node stops answering, an exporter remembers the alarming parts of its last answer: that the copy is behind or has
diverged, that the guest is alive, that a disk is absent. While the node does not answer, it is unknown whether the copy is well, excluded
or orphaned.

A stopped disk whose newest snapshot is also its owner's newest is proven to be stopped. Any other stopped disk is counted separately, as
stopped (unproven), because only its suffix says that the guest is off. While the owner says that the guest is alive, a
` + "`_stopped`" + ` snapshot proves nothing, even as the newest one: a new snapshot has been due since the start of the guest, and the time since then is
a lag.

| outcome | applies when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range Outcomes() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	return b.String()
}
