package checker

import "slices"

// sortedByCluster marks evidence about a disk as foreign if the evidence comes from a node of
// another cluster than the disk's. If disks come from several clusters, a VMID and a dataset's name
// may be the same in each cluster. If a node has, by guid, the newest snapshot of a copy here, the
// node belongs to the copy's cluster. The cluster of a node is unknown if the node does not have
// the newest snapshot of any copy here.
func sortedByCluster(disks []Result, said map[string][]Evidence) map[string][]Evidence {
	of := clustersOf(disks, said)
	sorted := make(map[string][]Evidence, len(said))
	for dataset, nodes := range said {
		for _, e := range nodes {
			switch {
			case e.Cluster == "" || of[e.Node][e.Cluster]:
			case len(of[e.Node]) > 0:
				e.Foreign = true
			case e.Failure != "":
				e = Evidence{Node: e.Node, Cluster: e.Cluster, Failure: e.Failure}
			default:
				e = Evidence{Node: e.Node, Cluster: e.Cluster, Why: "it holds no disk that comes from cluster " + e.Cluster}
			}
			sorted[dataset] = append(sorted[dataset], e)
		}
	}
	return sorted
}

// clustersOf returns, by node, the clusters to which the node may belong. A node may belong to a
// copy's cluster if the node has the copy's newest snapshot.
func clustersOf(disks []Result, said map[string][]Evidence) map[string]map[string]bool {
	of := map[string]map[string]bool{}
	for i := range disks {
		for _, e := range said[disks[i].Dataset] {
			if e.Cluster != "" && e.holds(disks[i].Disk) {
				if of[e.Node] == nil {
					of[e.Node] = map[string]bool{}
				}
				of[e.Node][e.Cluster] = true
			}
		}
	}
	return of
}

// perhapsFrom returns the disks on this host that may be copies from a node whose cluster is
// unknown: each disk whose newest snapshot this node has, and each disk whose newest snapshot no
// node has. perhapsFrom does not say to which clusters the disks belong.
func (p *Policy) perhapsFrom(node string, disks []Result) holdings {
	anywhere := *p
	anywhere.OriginOf = func(disk string) (cluster, origin string) {
		_, origin = p.OriginOf(disk)
		return "", origin
	}
	var perhaps []Result
	for i := range disks {
		holds := func(e Evidence) bool { return e.holds(disks[i].Disk) }
		held := slices.ContainsFunc(disks[i].Evidence, holds)
		if !held || slices.ContainsFunc(disks[i].Evidence, func(e Evidence) bool { return e.Node == node && holds(e) }) {
			perhaps = append(perhaps, disks[i])
		}
	}
	return newHoldings(perhaps, &anywhere)
}

// holds reports whether the node has the disk's newest snapshot, or a bookmark of this snapshot, or
// had one of the two at its last answer.
func (e Evidence) holds(d Disk) bool {
	if d.Newest == nil || e.isReplica(d) {
		return false
	}
	present := (e.Presence == AsSnapshot || e.Presence == AsBookmark) && e.PresenceGUID == d.Newest.GUID
	return present || (e.Newest != nil && e.Newest.GUID == d.Newest.GUID)
}
