package zfs

import (
	"regexp"
	"strings"
)

// Damage lists the snapshots and datasets of a pool that have permanent errors.
type Damage struct {
	// Snapshots has, by dataset, the names of the snapshots with errors. The name "" means that the
	// dataset itself has errors.
	Snapshots map[string][]string `json:"datasets,omitempty"`
	// Unresolved is the number of damaged places that belong to no existing dataset, such as the
	// pool's own metadata or a dataset that was destroyed.
	Unresolved int `json:"unresolved,omitempty"`
}

// object matches the object number with which zpool status ends a place whose file name is unknown.
var object = regexp.MustCompile(`:<0x[0-9a-f]+>$`)

// ResolveDamage finds the datasets that contain the files and objects with permanent errors in the
// output of `zpool status -v`. The argument mounts has, by mount point, the mounted dataset,
// because ZFS names a file in a mounted dataset by the file's path, without the dataset.
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

// datasetOf returns the dataset or snapshot that contains the file or object named by zpool status
// -v, "" if there is none.
func datasetOf(place string, mounts map[string]string) string {
	if !strings.HasPrefix(place, "/") {
		// First remove the file name, because a file name may end like an object number.
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

// octal decodes the characters that /proc/self/mounts writes as octal numbers.
var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// ParseMounts returns, by mount point, the mounted ZFS dataset, from the text of /proc/self/mounts.
func ParseMounts(text string) map[string]string {
	mounts := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "zfs" {
			mounts[octal.Replace(f[1])] = octal.Replace(f[0])
		}
	}
	return mounts
}
