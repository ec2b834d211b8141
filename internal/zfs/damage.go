package zfs

import (
	"regexp"
	"strings"
)

// Damage is where permanent errors are, as far as their places have names.
type Damage struct {
	// Snapshots are the names of the snapshots with errors, by dataset; "" stands for the live
	// dataset.
	Snapshots map[string][]string `json:"datasets,omitempty"`
	// Unresolved is how many places belong to no dataset that is there: the pool's own data, or
	// what was destroyed since.
	Unresolved int `json:"unresolved,omitempty"`
}

// object is how zpool status ends a place that it has no file's name for.
var object = regexp.MustCompile(`:<0x[0-9a-f]+>$`)

// ResolveDamage finds the datasets of the places that `zpool status -v` lists. mounts are the
// mounted datasets by mount point: of a file in them ZFS tells only the path.
func ResolveDamage(places []string, mounts map[string]string) Damage {
	d := Damage{Snapshots: map[string][]string{}}
	seen := map[string]bool{}
	for _, place := range places {
		name := datasetOf(place, mounts)
		dataset, snapshot, isSnapshot := strings.Cut(name, "@")
		if !ValidDataset(dataset) || isSnapshot && snapshot == "" {
			d.Unresolved++
			continue
		}
		if !seen[name] {
			seen[name] = true
			d.Snapshots[dataset] = append(d.Snapshots[dataset], snapshot)
		}
	}
	return d
}

// datasetOf is the dataset, or the snapshot, that a place is in, "" where it is in none.
func datasetOf(place string, mounts map[string]string) string {
	if !strings.HasPrefix(place, "/") {
		// A file's name comes first: it may end as an object does.
		name, _, _ := strings.Cut(place, ":/")
		return object.ReplaceAllString(name, "")
	}
	longest, dataset := "", ""
	for point, mounted := range mounts {
		below := strings.HasPrefix(place, strings.TrimSuffix(point, "/")+"/")
		if below && len(point) > len(longest) {
			longest, dataset = point, mounted
		}
	}
	return dataset
}

// octal are the characters that /proc/self/mounts writes as numbers.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// ParseMounts returns the ZFS datasets by mount point, from the text of /proc/self/mounts.
func ParseMounts(text string) map[string]string {
	mounts := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "zfs" {
			mounts[octal.Replace(f[1])] = octal.Replace(f[0])
		}
	}
	return mounts
}
