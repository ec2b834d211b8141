package checker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// startPlan returns the explanation of guest 100 of the given cluster, with the commands that start
// the guest. The guest's only disk is in the pool tank. The argument `beside` has further disks of
// the report.
func startPlan(cluster string, v Volumes, beside ...Disk) GuestExplanation {
	p := NewPolicy(config.Default())
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: append(beside, part(first, zfs.Hourly, minute))}}, p, now).WithGuests(p)
	g := r.Guests[0]
	g.Cluster, g.Disks = cluster, []string{first}
	return ExplainGuest(r, g, false, v)
}

// The clones are made below a dataset that does not exist yet: an existing dataset may be in use,
// and the commands that remove the clones destroy it.
func TestTheClonesHaveADatasetOfTheirOwn(t *testing.T) {
	here := func(names ...string) Volumes {
		v := Volumes{Found: map[string]zfs.Volume{"tank": {}}}
		for _, name := range names {
			v.Found[name] = zfs.Volume{}
		}
		return v
	}
	clone := part("tank/start-100/vm-100-disk-0", zfs.Hourly, minute, func(d *Disk) { d.Newest, d.NewestOfAny, d.Origin, d.Owned = nil, "", first+"@x", NotOwned })
	all := (Guest{VMID: 100}).StartNames("tank")
	for name, c := range map[string]struct {
		e     GuestExplanation
		below string // "" for no plan
		words string // "" for none about it
	}{
		"nothing is there":            {startPlan("", here()), "tank/start-100", ""},
		"the dataset is there":        {startPlan("", here("tank/start-100")), "tank/start-100-2", "tank/start-100 exists already: the guest may have been started from this dataset."},
		"two are":                     {startPlan("", here("tank/start-100", "tank/start-100-2")), "tank/start-100-3", "tank/start-100 exists already"},
		"all are":                     {startPlan("", here(all...)), "", "There are no commands: "},
		"a clone is there":            {startPlan("", here(), clone), "tank/start-100-2", "tank/start-100 exists already"},
		"that of another guest is":    {startPlan("", here("tank/start-1000", "tank/start-200")), "tank/start-100", ""},
		"that of another cluster is":  {startPlan("west", here("tank/start-100", "tank/start-east-100")), "tank/start-west-100", ""},
		"a cluster of any name":       {startPlan("west/1, ü", here()), "'tank/start-west-1- --100'", ""},
		"nobody knows":                {startPlan("", Volumes{}), "tank/start-100", "Whether tank/start-100 exists is not known: "},
		"nobody knows, but of clones": {startPlan("", Volumes{}, clone), "tank/start-100-2", "tank/start-100 exists already"},
	} {
		t.Run(name, func(t *testing.T) {
			words := strings.Join(c.e.Words, " ")
			if c.words == "" {
				assert.NotContains(t, words, "exists")
			} else {
				assert.Contains(t, words, c.words)
			}
			if c.below == "" {
				assert.Empty(t, c.e.Start)
				assert.Empty(t, c.e.Back)
				return
			}
			assert.Equal(t, "zfs create "+c.below, c.e.Start[0])
			assert.Equal(t, []string{"zfs destroy -r " + c.below}, c.e.Back)
		})
	}
}

// A dataset can be created below an encrypted dataset only while the key of the encrypted dataset
// is loaded.
func TestThePlanUnlocksThePool(t *testing.T) {
	e := startPlan("", Volumes{Found: map[string]zfs.Volume{"tank": {EncryptionRoot: "tank", Locked: true}, first: {EncryptionRoot: "tank", Locked: true}}})
	assert.Equal(t, []string{"zfs load-key tank"}, e.Unlock)
	e = startPlan("", Volumes{Found: map[string]zfs.Volume{"tank": {EncryptionRoot: "tank", Locked: true}}})
	assert.Equal(t, []string{"zfs load-key tank"}, e.Unlock)
	assert.Equal(t, []string{"zfs destroy -r tank/start-100", "zfs unload-key tank"}, e.Back)
	assert.NotContains(t, strings.Join(e.Words, " "), "Nobody can read it")
}
