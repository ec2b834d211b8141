package checker

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerdictsAreDocumented checks that docs/verdicts.md agrees with the tables; -update writes the
// page.
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

Every disk has one verdict: the first in this table that holds. check, the metrics, the page and the JSON show the same
one. This page is made from the table in ` + "`checker/verdict.go`" + `.

| verdict | it holds when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range Verdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Guests

Every guest on a host with copies has a verdict, too: the disks here of one number that come from one cluster, less those
that are excluded or orphaned. Its *restore point* is the newest time, as it stands in the snapshots' names, that all its disks
have a managed snapshot of, whatever the class; its age counts from the first of them. It is held against the limits of all
its disks: what one of them may be, the guest may be. Two datasets of one name are one disk twice if they share a snapshot;
then the freshest that can be read serves the guest, and each keeps a verdict of its own.

| verdict | it holds when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range GuestVerdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Pools

A pool as a whole has a verdict, too. More than one of these may hold: then the one is given that alarms most, and of those that
alarm as much the first in this table; the reason names them all. What a pool is asked for, and how often, is in
[check.md](check.md#pools). ` + "`pool_ignore: [scrub]`" + ` in the configuration leaves a verdict out: errors, degraded, scrub or full.

| verdict | it holds when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range PoolVerdicts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	b.WriteString(`
## Comparison with the owner

` + "`check --owners`" + ` compares each disk with the node that owns its guest now. The worse of the verdict's state and
this one counts; only a stale disk that its owner is known to have had and does not use any more becomes *orphaned*, and one that its owner takes no
snapshots of *excluded*. A disk that is unreadable, missing, receiving or excluded is not compared, and one that never had a
snapshot only with an owner that says so. A lag is how long the owner has had a snapshot that
the replica lacks (or the difference of the newest ones, where it does not know), held against the limits of an age.

What a node said before it stopped answering counts where an exporter remembers it, as far as it alarms: that the copy is behind or has
diverged, that the guest lives, that a disk is absent. That the copy is well, excluded or orphaned is then not known.

A stopped disk whose newest snapshot is also its owner's newest is proven to be stopped. Any other is counted apart, as
stopped (unproven): its silence rests on a suffix alone. While the owner says that the guest's process lives, a
` + "`_stopped`" + ` that is the newest proves nothing: since the guest was started a snapshot is due, and the time since then is
a lag.

| outcome | it holds when | state within the limits | beyond warning | beyond critical |
|---|---|---|---|---|
`)
	for _, row := range Outcomes() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Name, row.Meaning, row.States[0], row.States[1], row.States[2])
	}
	return b.String()
}
